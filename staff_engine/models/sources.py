"""Where a model is: by hub name, folder, .gguf file, builtin:NAME, or base+adapter. No weights are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from staff_engine.errors import ModelError
from staff_engine.program import asset
from staff_engine.system.hub import at_commit, hub_answers, in_hub_cache
from staff_engine.system.sharing import check_place

BUILTIN_FOLDER = asset("models")

ADAPTER_FILE = "adapter_config.json"

POINTER = b"version https://git-lfs.github.com/spec"
"""The start of a file that git clone leaves where git-lfs is not installed."""

CONVERT = (
    'python -c "from transformers import AutoModelForCausalLM as M;'
    " M.from_pretrained('{name}', use_safetensors=False).save_pretrained('{folder}')\""
)
"""A command that converts pickled weights. Reading them can run code that their author put there."""


@dataclass(frozen=True)
class Source:
    """The location of a model.

    Attributes
    ----------
    name
        As the user gave it.
    location
        The argument of `from_pretrained`.
    gguf_file
        The .gguf file in this location, if it is one.
    revision
        A commit, branch or tag on the hub.
    adapter
        A PEFT adapter to add to the weights: a folder or a hub name.
    adapter_revision
        A commit, branch or tag of the adapter on the hub.
    """

    name: str
    location: str
    gguf_file: str | None = None
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for tokenizer, configuration and model."""
        given = {"gguf_file": self.gguf_file, "revision": self.revision}
        return {"trust_remote_code": False, **{key: value for key, value in given.items() if value}}

    @property
    def folder(self) -> Path | None:
        """The folder of a model on this machine; None for the hub and for a .gguf file."""
        path = Path(self.location)
        return path if path.is_dir() and not self.gguf_file else None

    @property
    def on_hub(self) -> bool:
        """Whether the base is on the hub, not on this machine."""
        return self.folder is None and not self.gguf_file


def builtin_models() -> list[str]:
    """Names of the models that ship with the project, for `builtin:NAME`."""
    return sorted(path.parent.name for path in BUILTIN_FOLDER.glob("*/config.json"))


def short_name(name: str) -> str:
    """A short model name for display: without its owner, folder, revision or "builtin:"."""
    base, plus, adapter = _parts(name)
    last, of_adapter = (
        text.removeprefix("builtin:").rstrip("/").rpartition("/")[2].partition("@")[0]
        for text in (base, adapter)
    )
    return f"{last}+{of_adapter}" if plus else last


def find_model(name: str) -> Source:
    """Find a model by hub name, local folder, .gguf file or builtin:NAME.

    A hub name can end with @ and a commit, branch or tag. A model with + and a PEFT adapter (a folder or
    a hub name) behind it is the model with the adapter merged into its weights. A folder of an adapter alone
    means the base that it names, with the adapter.

    Raises
    ------
    ModelError
        If no built-in model, folder or file with this name exists, a folder has no usable weights, or the
        model must be downloaded and the hub cannot be reached. Names on the hub are checked only when
        the model is loaded.
    PlanError
        On a shared server, for a path.
    """
    check_place(name)
    base, plus, adapter = _parts(name)
    if plus:
        location, revision = _adapter_location(adapter)
        return replace(_without_adapter(base, name), name=name, adapter=location, adapter_revision=revision)
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
        return _in_folder(name, path)
    repository, _, revision = name.partition("@")
    if path.is_absolute() or name.startswith((".", "~")) or repository.count("/") > 1:
        raise ModelError(f"model folder {name!r} does not exist")
    if not in_hub_cache(repository, revision=revision or None) and not hub_answers():
        raise ModelError(
            f"model {name!r} is not on this machine, and the hub cannot be reached to download it"
        )
    return Source(name, repository, revision=revision or None)


def _parts(name: str) -> tuple[str, bool, str]:
    """Base, whether there is an adapter, and the adapter. A folder with + in its name is a base."""
    base, plus, adapter = name.partition("+")
    if not plus or not base or not adapter or Path(name).expanduser().exists():
        return name, False, ""
    return base, True, adapter


def pinned(name: str) -> str:
    """The name of a model at the commits that its names on the hub mean now; see `hub.at_commit`.

    The name of a model of this machine stays as it is. Raises ModelError as `find_model` does.
    """
    source = find_model(name)
    base, plus, _ = _parts(name)
    if source.on_hub:
        base = at_commit(source.location, source.revision)
    elif not plus:
        return name
    if source.adapter is None:
        return base
    if Path(source.adapter).is_dir():
        return f"{base}+{source.adapter}"
    return f"{base}+{at_commit(source.adapter, source.adapter_revision, file=ADAPTER_FILE)}"


def _adapter_location(name: str) -> tuple[str, str | None]:
    """Folder or hub name of an adapter, and the revision on the hub. Raises ModelError."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / ADAPTER_FILE).is_file():
            raise ModelError(f"adapter folder {name!r} has no {ADAPTER_FILE}")
        return str(path), None
    repository, _, revision = name.partition("@")
    if path.is_absolute() or name.startswith((".", "~")) or repository.count("/") != 1:
        raise ModelError(f"adapter folder {name!r} does not exist")
    return repository, revision or None


def _without_adapter(base: str, name: str) -> Source:
    """The base of an adapter. Raises ModelError, also if it has an adapter itself."""
    source = find_model(base)
    if source.adapter is not None:
        raise ModelError(
            f"the base of {name!r} has the adapter {source.adapter!r} itself; only one adapter can be added:"
            " merge that one into its base first"
        )
    return source


def _in_folder(name: str, path: Path) -> Source:
    """A folder with a model, or with an adapter that names its base. Raises ModelError."""
    if (path / ADAPTER_FILE).is_file() and not (path / "config.json").is_file():
        content = json.loads((path / ADAPTER_FILE).read_text(encoding="utf-8"))
        base = content.get("base_model_name_or_path")
        if not base:
            raise ModelError(f"{name!r} is an adapter that does not name its base model; give BASE+{name}")
        revision = content.get("revision")
        base = f"{base}@{revision}" if revision and not Path(base).exists() else str(base)
        return replace(_without_adapter(base, name), name=name, adapter=str(path))
    if not (path / "config.json").is_file():
        raise ModelError(f"model folder {name!r} has no config.json")
    weights = [*path.glob("*.safetensors"), *path.glob("*.bin")]
    pointer = next(_pointers([*weights, *path.glob("tokenizer*")]), None)
    if pointer is not None:
        raise ModelError(
            f"{pointer.name} of {name!r} is a git-lfs pointer, not the file itself; run `git lfs pull` in the"
            " folder"
        )
    if weights and not any(file.suffix == ".safetensors" for file in weights):
        raise ModelError(pickled(name, f"{path}-safetensors"))
    return Source(name, str(path))


def pickled(name: str, folder: str) -> str:
    """The error for weights that are only there as .bin files, with the command that converts them."""
    command = CONVERT.format(name=name, folder=folder)
    return (
        f"the weights of {name!r} are .bin files, which can run code when they are read; only .safetensors"
        f" and .gguf are read. If you trust the author, convert them: {command}"
    )


def _pointers(files: list[Path]) -> Iterator[Path]:
    for file in sorted(files):
        with file.open("rb") as content:
            if content.read(len(POINTER)) == POINTER:
                yield file
