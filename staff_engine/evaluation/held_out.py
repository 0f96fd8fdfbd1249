"""The samples that an evaluation judges on: read, chosen, and looked for in the data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from staff_engine.data.builtin.tasks import is_task, task_of
from staff_engine.data.dataset import Imported, import_dataset, open_imported
from staff_engine.data.tokens import TokenTable
from staff_engine.errors import DatasetError, PlanError
from staff_engine.evaluation.metrics import Metric, choose_metric
from staff_engine.pipelines.steps import Reporter, tokenize_rows
from staff_engine.plan import EvaluationPlan, Plan
from staff_engine.runs import stages
from staff_engine.runs.results import Results
from staff_engine.selection.drawing import VERIFICATION, priorities


@dataclass(frozen=True)
class HeldOut:
    """Samples that no coreset holds: as the target reads them, and what some of them are answered by."""

    tokens: TokenTable
    answered: np.ndarray  # places in `tokens`
    references: tuple[str, ...]  # of the answered ones
    fingerprint: str


def held_out_source(plan: Plan, evaluation: EvaluationPlan) -> tuple[str, str]:
    """The data set and split to evaluate on. Raises PlanError where there is none."""
    if evaluation.held_out is not None:
        return evaluation.held_out, "train"
    if not is_task(plan.dataset):
        raise PlanError(
            f"data set {plan.dataset!r} has no held-out split; give a file of samples kept apart (--held-out)"
        )
    if plan.split != "train":
        raise PlanError(
            f"the run was made on the {plan.split} split of {plan.dataset}; give other samples (--held-out)"
        )
    return plan.dataset, "held_out"


def import_held_out(folder: Path, plan: Plan, evaluation: EvaluationPlan, reporter: Reporter) -> Path:
    """Read the held-out samples, if an evaluation run's folder has not got them; where they are."""
    source, split = held_out_source(plan, evaluation)
    place = _place(folder / "held_out", evaluation.held_out)
    if (place / "dataset").exists():
        return place
    reporter.stage(stages.IMPORT_HELD_OUT)
    place.mkdir(exist_ok=True, parents=True)
    import_dataset(
        source,
        place / "dataset",
        format=plan.format,
        prompt_column=plan.prompt_column,
        response_column=plan.response_column,
        split=split,
        on_progress=reporter.advance,
    )
    return place


def _place(folder: Path, source: str | None) -> Path:
    """Of its own for each source, and for a file each time that it was changed; the last, if it is gone."""
    if source is None:
        return folder / "builtin"
    path = Path(source)
    name = _short(source)
    if path.is_file():
        found = path.stat()
        return folder / f"{name}-{_short(f'{found.st_size} {found.st_mtime_ns}')}"
    known = sorted(folder.glob(f"{name}-*"), key=lambda place: place.stat().st_mtime)
    return known[-1] if known else folder / name


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def choose_held_out(place: Path, plan: Plan, evaluation: EvaluationPlan) -> HeldOut:
    """Choose the held-out samples, in one fixed order; the first of them are answered.

    They are drawn, but for a built-in task of which only the first rows were read: its rows
    go from module to module or from topic to topic, so the first held-out ones are nearest to them.

    Parameters
    ----------
    place
        Where `import_held_out` left them.

    Raises
    ------
    DatasetError
        If the target can read none of them.
    """
    imported = open_imported(place / "dataset")
    problems = imported.rows["problem"]
    usable = np.array([row for row, problem in enumerate(problems) if not problem], dtype=np.int64)
    first = evaluation.held_out is None and plan.limit is not None
    order = usable if first else usable[np.argsort(priorities(0, usable, VERIFICATION))]
    drawn = np.sort(order[: evaluation.held_out_samples])
    tokens = tokenize_rows(plan, plan.target, place, drawn, place / "tokens.arrow")
    if not len(tokens):
        raise DatasetError(f"{imported.facts.source} has no held-out sample that the target can read")
    places = {row: place for place, row in enumerate(tokens.row_ids.tolist())}
    answered = [places[row] for row in order.tolist() if row in places][: evaluation.answers]
    turns = imported.rows.select([int(tokens.row_ids[place]) for place in answered])["turns"]
    references = tuple(
        next(turn["content"] for turn in reversed(each) if turn["role"] == "assistant") for each in turns
    )
    return HeldOut(tokens, np.array(answered, dtype=np.int64), references, imported.facts.fingerprint)


def metric_of(plan: Plan, evaluation: EvaluationPlan, references: tuple[str, ...]) -> Metric:
    """What answers are measured by: as asked for, a built-in task's own, or what suits the references."""
    if evaluation.metric != "auto":
        return evaluation.metric
    if is_task(plan.dataset) and evaluation.held_out is None:
        return task_of(plan.dataset).metric
    return choose_metric(references)


def shared_samples(place: Path, source: Results) -> list[str]:
    """Say so where held-out samples stand in the data too: what is learnt by heart is no evidence."""
    held_out = list(_texts(open_imported(place / "dataset")))
    both = set(held_out).intersection(_texts(source.imported))
    shared = sum(text in both for text in held_out)
    return [f"{shared:,} of {len(held_out):,} held-out samples stand in the data too."] if shared else []


def _texts(imported: Imported) -> Iterator[str]:
    """Every usable sample's turns as one text."""
    for turns, problem in zip(imported.rows["turns"], imported.rows["problem"], strict=True):
        if not problem:
            yield "\x00".join(text for turn in turns for text in (turn["role"], turn["content"]))
