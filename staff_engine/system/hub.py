"""Check quickly whether the hub can be reached: its own client tries for most of a minute."""

from __future__ import annotations

TIMEOUT_SECONDS = 5.0


def in_hub_cache(name: str, file: str = "config.json", kind: str = "model") -> bool:
    """Whether a repository's file was downloaded before; `kind` is model or dataset."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, file, repo_type=kind), str)
    except HFValidationError:
        return False


def hub_answers() -> bool:
    """Whether the hub may be used and responds within `TIMEOUT_SECONDS`."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.is_offline_mode():
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
    except Exception:  # the exceptions depend on the client that the hub's library uses
        return False
    return True
