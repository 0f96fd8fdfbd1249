"""Run folders and their plan.json: create, read and find them."""

from __future__ import annotations

import difflib
import platform
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

import staff_engine
from staff_engine.brought_scores import NO_MODEL
from staff_engine.data.formats import FORMATS
from staff_engine.data.locating import absolute_source
from staff_engine.data.sources import shown_source
from staff_engine.errors import PlanError, RunError
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.program import SCRIPT
from staff_engine.runs.kinds import Kind
from staff_engine.runs.status import STATUS_FILE, Status, now, save_status
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.files import private_folder, read_checked, rename_flushed, write_checked
from staff_engine.system.home import home, homes
from staff_engine.system.sharing import check_own_runs, check_place, is_shared, refuse_paths
from staff_engine.system.words import first_few

PLAN_FILE = "plan.json"
LOG_FILE = "log.txt"
SUMMARY_FILE = "summary.json"

LONGEST_NAME = 100
"""Characters of the name of a run."""

VERSIONS_KEPT = ("torch", "transformers", "peft", "datasets", "tokenizers", "safetensors", "pyarrow", "numpy",
                 "babel", "chatterbot-corpus")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run: its id, which sorts by the time it was created, and its folder."""

    id: str
    folder: Path

    @property
    def log(self) -> Path:
        """The file that its process writes to."""
        return self.folder / LOG_FILE


class Delivery(BaseModel):
    """The file that a run writes when it is finished."""

    model_config = ConfigDict(frozen=True)

    out: Path
    format: str = "jsonl"
    with_scores: bool = False


class RunRecord(BaseModel):
    """The content of plan.json: the settings of the run and the versions it was created with."""

    model_config = ConfigDict(frozen=True)

    name: str
    created: datetime
    plan: Plan
    versions: dict[str, str]
    fingerprint: str | None = None
    delivery: Delivery | None = None
    similarity: SimilarityPlan | None = None
    """The models that a similarity run compares; None in a run of another kind."""
    evaluation: EvaluationPlan | None = Field(None, validation_alias=AliasChoices("evaluation", "comparison"))
    """The coresets that an evaluation run evaluates, else None. Older runs call it `comparison`."""

    @property
    def kind(self) -> Kind:
        """The kind of the run."""
        if self.evaluation is not None:
            return Kind.EVALUATION
        return Kind.CORESET if self.similarity is None else Kind.SIMILARITY


class _OnlyPlan(BaseModel):
    plan: Plan


def create_run(
    plan: Plan,
    *,
    name: str | None = None,
    delivery: Delivery | None = None,
    similarity: SimilarityPlan | None = None,
    evaluation: EvaluationPlan | None = None,
) -> Run:
    """Create a run's folder; `start` then starts its process.

    Parameters
    ----------
    plan
        Its settings. Local paths are made absolute, because the process has another working directory.
    name
        Name of the run; made from data set and model if None.
    delivery
        The file to export when the run has finished.
    similarity
        Makes it a run that compares models and selects no coreset.
    evaluation
        Makes it a run that fine-tunes the target on coresets of another run.

    Raises
    ------
    PlanError
        If the record format of the plan is unknown, or a shared server does not read what it names.
    RunError
        If the folder cannot be written, or the name is blank or too long.
    """
    if plan.format is not None and plan.format not in FORMATS:
        raise PlanError(f"format is {plan.format!r}; allowed: {', '.join(FORMATS)}")
    if delivery is not None:
        refuse_paths()
    if evaluation is not None:
        check_own_runs(evaluation.source, *evaluation.also.values())
        if evaluation.held_out is not None:
            check_place(evaluation.held_out)
    if name is not None:
        name = checked_name(name)
    plan = with_absolute_paths(plan)
    if similarity is not None:
        paths = {
            name: tuple(map(with_absolute_path, getattr(similarity, name))) for name in ("smalls", "targets")
        }
        similarity = similarity.model_copy(update=paths)
    what = (
        Kind.SIMILARITY
        if similarity
        else Kind.EVALUATION
        if evaluation
        else _slug(shown_source(plan.scores or plan.small), 16)
    )
    slug = f"{_slug(shown_source(plan.dataset), 24)}-{what}"
    record = RunRecord(
        name=name or slug, created=now(), plan=plan, versions=_versions(), delivery=delivery,
        similarity=similarity, evaluation=evaluation,
    )  # fmt: skip
    run_id = f"{record.created:%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"
    folder = home() / "runs" / run_id
    part = folder.with_name(f".{run_id}.part")
    try:
        private_folder(folder.parent)
        private_folder(part)
        write_checked(part / PLAN_FILE, record.model_dump(mode="json"))
        save_status(part, Status(message="not started"))
        rename_flushed(part, folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RunError(
            f"run folder {folder} cannot be written: {error.strerror}; set STAFF_HOME to use another folder"
        ) from error
    return Run(run_id, folder)


def checked_name(name: str) -> str:
    """The name of a run without spaces around it. Raises RunError if it is blank, too long or not text."""
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME or any(unicodedata.category(each) in ("Cc", "Cs") for each in name):
        shown = repr(name if len(name) <= LONGEST_NAME else f"{name[:20]}…")
        raise RunError(
            f"the name of a run is {shown} ({len(name):,} characters); allowed: 1 to {LONGEST_NAME}, without"
            " line breaks"
        )
    return name


def list_runs() -> list[Run]:
    """List all runs, newest first, including damaged ones."""
    return _runs_in(home() / "runs")


def runs_of_all() -> list[Run]:
    """List the runs of all users of this server."""
    return [run for each in homes() for run in _runs_in(each / "runs")]


def _runs_in(folder: Path) -> list[Run]:
    if not folder.is_dir():
        return []
    found = [Run(path.name, path) for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    return sorted(found, key=lambda run: run.id, reverse=True)


def find_run(text: str, *, kind: Kind | None = None) -> Run:
    """Find a run by what a person typed.

    Parameters
    ----------
    text
        "latest", a run's id, its folder's path, its name, or the start of its id.
    kind
        The kind of run that "latest" refers to; any kind if None.

    Raises
    ------
    RunError
        If no run matches, or more than one; the message names the closest ones.
    """
    runs = list_runs()
    if text == "latest":
        latest = next((run for run in runs if kind is None or kind_of(run) == kind), None)
        if latest is not None:
            return latest
    folder = Path(text).expanduser()
    if not is_shared() and folder.is_dir() and (len(folder.parts) > 1 or text.startswith((".", "~"))):
        folder = folder.resolve()
        if not (folder / PLAN_FILE).exists() and not (folder / STATUS_FILE).exists():
            raise RunError(f"folder {text!r} is not a run folder: it has no {PLAN_FILE}")
        return Run(folder.name, folder)
    meanings: tuple[Callable[[Run], bool], ...] = (
        lambda run: run.id == text,
        lambda run: _name(run) == text,
        lambda run: bool(text) and run.id.startswith(text),
    )
    for meant in meanings:
        found = list(filter(meant, runs))
        if len(found) > 1:
            raise RunError(
                f"run {text!r} is ambiguous: {first_few(run.id for run in found)}; give more of its id"
            )
        if found:
            return found[0]
    raise RunError(f"run {text!r} does not exist; {_near(text, runs)}")


def read_record(run: Run) -> RunRecord:
    """Read the record of a run.

    Raises
    ------
    RunError
        If plan.json is missing or damaged, or has a setting that this version does not know.
    """
    path = run.folder / PLAN_FILE
    content = read_checked(path)
    try:
        return RunRecord.model_validate(content)
    except ValidationError as error:
        raise RunError(_why_unreadable(path, content, error)) from None


def read_plan(folder: Path) -> Plan:
    """Read the settings in a run's plan.json, and nothing else. Raises RunError as `read_record` does."""
    path = folder / PLAN_FILE
    if not path.exists():
        raise RunError(f"{folder} has no {PLAN_FILE}: it is not a run folder")
    content = read_checked(path)
    try:
        return _OnlyPlan.model_validate(content).plan
    except ValidationError as error:
        raise RunError(_why_unreadable(path, content, error)) from None


def _why_unreadable(path: Path, content: Any, error: ValidationError) -> str:
    """What is wrong in a plan.json, with the version that wrote it if that is another one."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    versions = content.get("versions") if isinstance(content, dict) else None
    made = versions.get(SCRIPT) if isinstance(versions, dict) else None
    if first["loc"][:1] == ("plan",) and first["type"] in ("extra_forbidden", "literal_error"):
        value = f" {first['input']!r}" if first["type"] == "literal_error" else ""
        by = f"version {made}" if made else "another version"
        return (
            f"{path} has the setting {where}{value}, which version {staff_engine.__version__} does not know:"
            f" the run was made by {by}; open it with that version"
        )
    by = f" (the run was made by version {made})" if made and made != staff_engine.__version__ else ""
    return f"{path} is damaged: {f'{where}: ' if where else ''}{first['msg']}{by}"


def kind_of(run: Run) -> Kind | None:
    """The kind of a run; None if it is damaged."""
    try:
        return read_record(run).kind
    except RunError:
        return None


def with_absolute_paths(plan: Plan) -> Plan:
    changes: dict[str, object] = {"dataset": absolute_source(plan.dataset)}
    given = plan.model_dump(include={"small", "target", "scores", "chat_template"}, exclude_none=True)
    changes |= {name: with_absolute_path(value) for name, value in given.items() if value != NO_MODEL}
    if plan.apart_from is not None:
        changes["apart_from"] = absolute_source(plan.apart_from)
    return plan.but(**changes)


def with_absolute_path(name: str) -> str:
    """The absolute path of an existing file or folder; any other name unchanged.

    Of a model with an adapter, BASE+ADAPTER, each part is made absolute. Raises PlanError on a shared
    server, which reads no paths.
    """
    check_place(name)
    try:
        path = Path(name).expanduser()
        if path.exists():
            return str(path.resolve())
    except (OSError, RuntimeError):  # too long for a path; an unknown home folder
        return name
    base, plus, adapter = name.partition("+")
    return f"{with_absolute_path(base)}+{with_absolute_path(adapter)}" if plus and base and adapter else name


def _slug(text: str, longest: int) -> str:
    last = text.removeprefix("builtin:").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9]+", "-", last.lower().partition(".")[0])[:longest].strip("-") or "run"


def _versions() -> dict[str, str]:
    versions = {SCRIPT: staff_engine.__version__, "python": platform.python_version()}
    for package in VERSIONS_KEPT:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "missing"
    return versions


def _name(run: Run) -> str | None:
    try:
        return read_record(run).name
    except RunError:
        return None


def _near(text: str, runs: Sequence[Run]) -> str:
    if not runs:
        return f"there are none in {home() / 'runs'}"
    names = {name: run.id for run in runs for name in (run.id, _name(run)) if name}
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.4)
    return f"the closest are {first_few(near)}" if near else f"the latest is {runs[0].id}"
