"""Load a causal language model and its tokenizer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.errors import ModelError
from staff_engine.models.devices import choose_device, torch_dtype
from staff_engine.program import asset
from staff_engine.system.hub import hub_answers, in_hub_cache

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUILTIN_FOLDER = asset("models")
DEFAULT_LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Source:
    """The location of a model: the argument of `from_pretrained`, and the .gguf file if it is one."""

    name: str
    location: str
    gguf_file: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for tokenizer, configuration and model."""
        safe = {"trust_remote_code": False}
        return {**safe, "gguf_file": self.gguf_file} if self.gguf_file else dict(safe)


def builtin_models() -> list[str]:
    """Names of the models that ship with the project, for `builtin:NAME`."""
    return sorted(path.parent.name for path in BUILTIN_FOLDER.glob("*/config.json"))


def short_name(name: str) -> str:
    """A short model name for display: without its owner, folder or "builtin:"."""
    return name.removeprefix("builtin:").rstrip("/").rpartition("/")[2]


def find_model(name: str) -> Source:
    """Find a model by hub name, local folder, .gguf file or builtin:NAME.

    Raises
    ------
    ModelError
        If no built-in model, folder or file with this name exists, or the model must be
        downloaded and the hub cannot be reached. Names on the hub are checked only when
        the model is loaded.
    """
    if name.startswith("builtin:"):
        known = builtin_models()
        if name.removeprefix("builtin:") not in known:
            raise ModelError(f"unknown built-in model {name!r}; available: {', '.join(known) or 'none'}")
        return Source(name, str(BUILTIN_FOLDER / name.removeprefix("builtin:")))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"model file {name!r} does not exist")
        return Source(name, str(path.parent), path.name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"model folder {name!r} has no config.json")
        return Source(name, str(path))
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"model folder {name!r} does not exist")
    if not in_hub_cache(name) and not hub_answers():
        raise ModelError(
            f"model {name!r} is not on this machine, and the hub cannot be reached to download it"
        )
    return Source(name, name)


def default_learning_rate(name: str) -> float:
    """Peak learning rate of fine-tuning: the value on the card of a built-in model, else 1e-4."""
    if not name.startswith("builtin:"):
        return DEFAULT_LEARNING_RATE
    card = Path(find_model(name).location) / "pretraining.json"
    return float(json.loads(card.read_text(encoding="utf-8"))["finetune_learning_rate"])


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model. Without a padding token, it pads with its end token.

    Raises
    ------
    ModelError
        If it cannot be loaded, or has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    source = find_model(name)
    with named_failure(name, "the tokenizer of"):
        tokenizer = AutoTokenizer.from_pretrained(source.location, **source.arguments)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {name!r} has no end-of-sequence token, which is needed to end a response"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(name: str, *, device: str = "auto", dtype: str = "float32") -> PreTrainedModel:
    """Load a causal language model for scoring or fine-tuning, with all weights frozen.

    Parameters
    ----------
    name
        Hub name, local folder, .gguf file or builtin:NAME. Only safetensors and .gguf
        weights are read. Code that comes with the model is never run.
    device
        As in the plan; see `devices.choose_device`.
    dtype
        As in the plan, after `precision.settle` has resolved auto.

    Raises
    ------
    ModelError
        If the model is unknown, its weights are damaged or missing, it does not fit
        into memory, or it is not a decoder.
    """
    import torch
    from transformers import AutoModelForCausalLM

    source = find_model(name)
    chosen = choose_device(device)
    weights = _unpacked_gguf() if source.gguf_file else {"use_safetensors": True}
    with named_failure(name, "model"):
        model, report = AutoModelForCausalLM.from_pretrained(
            source.location,
            dtype=torch_dtype(dtype),
            output_loading_info=True,
            **weights,
            **source.arguments,
        )
        if report["missing_keys"] or report["mismatched_keys"]:
            wrong = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
            raise ModelError(
                f"the weights of {name!r} are incomplete: {len(wrong)} tensors are missing or have the"
                f" wrong shape, the first is {wrong[0]}"
            )
        model.to(torch.device(chosen)).eval()
        model.requires_grad_(False)
        model.config.use_cache = False
        _refuse_encoders(model, name)
    return model


def _unpacked_gguf() -> dict[str, Any]:
    """Arguments that unpack weights when loading, because gradients do not pass through packed weights."""
    import transformers

    if not hasattr(transformers, "GgufConfig"):  # versions before 5.17 always unpack them
        return {}
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}


def longest_input(model_config: Any) -> int | None:
    """Maximum number of positions of a model; None if its configuration has no limit."""
    return getattr(model_config.get_text_config(), "max_position_embeddings", None)


def context_length(name: str) -> int | None:
    """Maximum tokens per sample for a model, without loading its weights. Raises ModelError."""
    from transformers import AutoConfig

    source = find_model(name)
    with named_failure(name, "the configuration of"):
        return longest_input(AutoConfig.from_pretrained(source.location, **source.arguments))


def _refuse_encoders(model: PreTrainedModel, name: str) -> None:
    """Raise ModelError for an encoder: its first position depends on the second token."""
    import torch

    ids = torch.tensor([[3, 4], [3, 5]], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits.float()
    first, second = (logits[0] - logits[1]).abs().amax(dim=-1)
    if first > 1e-3 * second:
        raise ModelError(f"model {name!r} is an encoder ({type(model).__name__}); a causal decoder is needed")


@contextmanager
def named_failure(name: str, what: str) -> Iterator[None]:
    """Convert any exception of the libraries into a one-line ModelError that names the model.

    Parameters
    ----------
    name
        The name of the model.
    what
        The part that is loaded. The message starts with it.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fan_in_fan_out.*")
            yield
    except ModelError:
        raise
    except Exception as error:
        if "out of memory" in str(error) or isinstance(error, MemoryError):
            raise ModelError(
                f"{what} {name!r} does not fit into memory; use a smaller one or dtype bfloat16"
            ) from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{what} {name!r} cannot be loaded: {reason[:300]}") from error
