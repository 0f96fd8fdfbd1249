"""The held-out samples of an evaluation: read them, choose them, and check for overlap with the data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from staff_engine.data.builtin.tasks import is_task, task_of
from staff_engine.data.dataset import Imported, import_dataset, open_imported
from staff_engine.data.reading import Reading
from staff_engine.data.tokens import TokenTable
from staff_engine.data.turns import is_response
from staff_engine.errors import DatasetError, PlanError
from staff_engine.evaluation.metrics import Metric, choose_metric
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.pipelines.helping import Reporter
from staff_engine.pipelines.steps import tokenize_rows
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.integrity.mend import accept_import
from staff_engine.runs.results import Results
from staff_engine.selection.drawing import VERIFICATION, priorities


@dataclass(frozen=True)
class HeldOut:
    """Samples that are in no coreset: their tokens for the target, and reference answers for some of them."""

    tokens: TokenTable
    answered: np.ndarray  # indices in `tokens`
    references: tuple[str, ...]  # of the answered samples
    fingerprint: str


def held_out_source(plan: Plan, evaluation: EvaluationPlan) -> tuple[str, str]:
    """The data set and split to evaluate on. Raises PlanError if there is none."""
    if evaluation.held_out is not None:
        return evaluation.held_out, "train"
    if not is_task(plan.dataset):
        raise PlanError(
            f"data set {plan.dataset!r} has no held-out split; give a file of held-out samples (--held-out)"
        )
    if plan.split != "train":
        raise PlanError(
            f"the run uses the {plan.split} split of {plan.dataset}; give a file of held-out samples"
            " (--held-out)"
        )
    return plan.dataset, "held_out"


def import_held_out(folder: Path, plan: Plan, evaluation: EvaluationPlan, reporter: Reporter) -> Path:
    """Import the held-out samples into the run's folder, unless they are there; return their folder."""
    source, split = held_out_source(plan, evaluation)
    destination = _folder_for(folder / "held_out", evaluation.held_out)
    if (destination / "dataset").exists():
        return destination
    reporter.stage(stages.IMPORT_HELD_OUT)
    destination.mkdir(exist_ok=True, parents=True)
    import_dataset(
        source,
        destination / "dataset",
        replace(Reading.of(plan), duplicates="keep", apart_from=None),
        split=split,
        on_progress=reporter.advance,
    )
    accept_import(folder, (destination / "dataset").relative_to(folder).as_posix())
    return destination


def _folder_for(folder: Path, source: str | None) -> Path:
    """The folder for a source: a new one for each version of a file. If the file is gone, the latest."""
    if source is None:
        return folder / "builtin"
    path = Path(source)
    name = _short(source)
    if path.is_file():
        stat = path.stat()
        return folder / f"{name}-{_short(f'{stat.st_size} {stat.st_mtime_ns}')}"
    known = sorted(folder.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    return known[-1] if known else folder / name


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def choose_held_out(folder: Path, plan: Plan, evaluation: EvaluationPlan) -> HeldOut:
    """Choose the held-out samples in one fixed order. Answers are generated for the first of them.

    The samples are drawn at random, except for a built-in task with a limit on its rows. Its rows are
    ordered by module or topic, so the first held-out rows are the most similar ones.

    Parameters
    ----------
    folder
        The folder that `import_held_out` returned.

    Raises
    ------
    DatasetError
        If the target can read none of the samples.
    """
    imported = open_imported(folder / "dataset")
    problems = imported.rows["problem"]
    usable = np.array([row for row, problem in enumerate(problems) if not problem], dtype=np.int64)
    first = evaluation.held_out is None and plan.limit is not None
    order = usable if first else usable[np.argsort(priorities(0, usable, VERIFICATION))]
    drawn = np.sort(order[: evaluation.held_out_samples])
    tokens = tokenize_rows(plan, plan.target, folder, drawn, folder / "tokens.arrow")
    if not len(tokens):
        raise DatasetError(f"{imported.facts.source} has no held-out sample that the target can read")
    index_of = {row: index for index, row in enumerate(tokens.row_ids.tolist())}
    answered = [index_of[row] for row in order.tolist() if row in index_of][: evaluation.answers]
    turns = imported.rows.select([int(tokens.row_ids[index]) for index in answered])["turns"]
    references = tuple(
        next(turn["content"] for turn in reversed(each) if is_response(turn)) for each in turns
    )
    return HeldOut(tokens, np.array(answered, dtype=np.int64), references, imported.facts.fingerprint)


def metric_of(plan: Plan, evaluation: EvaluationPlan, references: tuple[str, ...]) -> Metric:
    """The metric for answers: the given one, that of the built-in task, or one that fits the references."""
    if evaluation.metric != "auto":
        return evaluation.metric
    if is_task(plan.dataset) and evaluation.held_out is None:
        return task_of(plan.dataset).metric
    return choose_metric(references)


def shared_samples(folder: Path, source: Results) -> list[str]:
    """A warning if held-out samples are also in the data: memorised samples are not evidence."""
    held_out = list(_texts(open_imported(folder / "dataset")))
    both = set(held_out).intersection(_texts(source.imported))
    shared = sum(text in both for text in held_out)
    return (
        [f"{shared:,} of {len(held_out):,} held-out samples are also in the training data."] if shared else []
    )


def _texts(imported: Imported) -> Iterator[str]:
    """The turns of every usable sample as one text."""
    for turns, problem in zip(imported.rows["turns"], imported.rows["problem"], strict=True):
        if not problem:
            yield "\x00".join(text for turn in turns for text in (turn["role"], turn["content"]))
