"""Remove the damaged files of a run, and what was made from them. The run's steps then make them again."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from staff_engine.data.dataset import Facts, open_imported
from staff_engine.errors import RunError
from staff_engine.runs.folders import PLAN_FILE, SUMMARY_FILE
from staff_engine.runs.integrity.check import Damage, find_damage
from staff_engine.runs.integrity.records import forget, load_records
from staff_engine.runs.results import TRAJECTORY
from staff_engine.runs.summary import load_summary
from staff_engine.scoring.precision import FILE as PRECISION_FILE
from staff_engine.scoring.precision import Precision
from staff_engine.system.files import read_checked, write_checked

SIDE_BY_SIDE = ("speculative", "embedding", "token_loss")
"""Folders whose parts of the same number have the same samples and are written together."""

OF_ADAPTER = {
    "adapter": (*SIDE_BY_SIDE, "speculative-without-prompt", TRAJECTORY, "tuned-*"),
    "target_adapter": ("verification", "verification-without-prompt", "target_scores"),
}
"""Adapter → the scores made with it, in the same folder."""

DAMAGED_IMPORT = "{name}.damaged"

log = logging.getLogger(__name__)


def mend(folder: Path) -> None:
    """Find the damaged files of a run, and remove them, and what was made from them.

    A damaged import is kept as `dataset.damaged` until `accept_import` has seen the new one.
    Saved selections are kept. Must be called in the run's process, before its steps.
    """
    for damage in find_damage(folder, at_work=False):
        log.warning("%s; it is made again", damage.sentence)
        _remedy(folder, damage)(folder, damage)


def accept_import(folder: Path, name: str = "dataset") -> None:
    """Compare a data set that was imported again with the one that the scores belong to.

    Parameters
    ----------
    folder
        A run's folder.
    name
        The import, relative to it.

    Raises
    ------
    RunError
        If the data have changed. The new import is then removed.
    """
    new = open_imported(folder / name).facts
    known = _known_import(folder, name)
    if known is not None and known not in (new.source_sha256, new.fingerprint):
        shutil.rmtree(folder / name)
        raise RunError(
            f"{folder / name} is damaged, and {new.source} has changed since the run read it;"
            " restore the data or the folder, or start a new run"
        )
    if known is None and _has_scores(folder):
        shutil.rmtree(folder / name)
        raise RunError(
            f"{folder / name} is missing, and the run has no record of what {new.source} contained;"
            " restore the folder, or start a new run"
        )
    shutil.rmtree(folder / DAMAGED_IMPORT.format(name=name), ignore_errors=True)
    forget(folder, name)


def _remedy(folder: Path, damage: Damage) -> Callable[[Path, Damage], None]:
    """The step that removes a damaged file and everything that was made from it."""
    path = Path(damage.name)
    if (folder / path).is_dir():  # it has too few parts
        return _keep_all
    if "dataset" in path.parts:
        return _set_import_aside
    if path.name == PRECISION_FILE:
        return _restore_precision
    if path.parent.name in OF_ADAPTER:
        return _remove_adapter
    if path.parts[0] == TRAJECTORY:
        return _train_again
    if path.parent.name in SIDE_BY_SIDE:
        return _remove_part
    if path.name in ("tokens.arrow", "tokenizer.json"):
        return _remove_tokens
    return _remove_file


def _keep_all(folder: Path, damage: Damage) -> None:
    _remove(folder)


def _remove_file(folder: Path, damage: Damage) -> None:
    _remove(folder, damage.name)


def _remove_part(folder: Path, damage: Damage) -> None:
    path = Path(damage.name)
    _remove(folder, *(str(path.parent.with_name(each) / path.name) for each in SIDE_BY_SIDE))


def _remove_tokens(folder: Path, damage: Damage) -> None:
    parent = Path(damage.name).parent
    _remove(folder, str(parent / "tokens.arrow"), str(parent / "tokenizer.json"))


def _remove_adapter(folder: Path, damage: Damage) -> None:
    adapter = Path(damage.name).parent
    beside = folder / adapter.parent
    scores = [path for pattern in OF_ADAPTER[adapter.name] for path in beside.glob(pattern)]
    _remove(folder, *(str(path.relative_to(folder)) for path in scores), str(adapter))


def _train_again(folder: Path, damage: Damage) -> None:
    """Losses at checkpoints: their adapters are deleted once they are measured, so all are made again."""
    _remove_adapter(folder, Damage("adapter/adapter_model.safetensors", damage.what))


def _restore_precision(folder: Path, damage: Damage) -> None:
    """The number format of the scores is also in the summary; without it, nothing of the models is kept."""
    try:
        known = load_summary(folder).dtype
    except RunError:
        known = None
    if known is not None:
        made = Precision.model_validate({"dtype": known, "reason": "the format of the run so far"})
        write_checked(folder / PRECISION_FILE, made.model_dump())
        return
    scores = {path.parent for path in folder.rglob("part-*.parquet") if "exports" not in path.parts}
    trained = [path for name in OF_ADAPTER for path in folder.rglob(name) if path.is_dir()]
    _remove(folder, *(str(path.relative_to(folder)) for path in (*scores, *trained)), damage.name)


def _set_import_aside(folder: Path, damage: Damage) -> None:
    path = Path(damage.name)
    dataset = folder.joinpath(*path.parts[: path.parts.index("dataset") + 1])
    aside = dataset.with_name(DAMAGED_IMPORT.format(name=dataset.name))
    if dataset.is_dir():
        _remove(folder, SUMMARY_FILE)
        shutil.rmtree(aside, ignore_errors=True)
        dataset.rename(aside)


def _remove(folder: Path, *names: str) -> None:
    """Remove files and sub-folders, after the summary: only a run with all its scores has a summary."""
    for name in dict.fromkeys((SUMMARY_FILE, *names)):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if names:
        forget(folder, *names)


def _known_import(folder: Path, name: str) -> str | None:
    """The sha256 of an import's source, or its fingerprint; None if neither was recorded."""
    record = load_records(folder).get(f"{name}/source.jsonl")
    if record is not None:
        return record.sha256
    try:
        facts = Facts(**read_checked(folder / DAMAGED_IMPORT.format(name=name) / "facts.json"))
        return facts.fingerprint
    except (RunError, TypeError):
        pass
    return read_checked(folder / PLAN_FILE).get("fingerprint") if name == "dataset" else None


def _has_scores(folder: Path) -> bool:
    return any(folder.rglob("part-*.parquet"))
