"""The steps of a similarity run: every model scores the same samples, untouched and fine-tuned.

Each step checks the run's folder and does only what is missing, as in `pipelines.coreset`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never, get_args

import numpy as np

from staff_engine.data.dataset import open_imported
from staff_engine.data.tokens import open_tokens
from staff_engine.errors import DatasetError
from staff_engine.models import sources
from staff_engine.pipelines.adapted import AdaptedModel
from staff_engine.pipelines.checking import check_models, find_models
from staff_engine.pipelines.helping import Reporter
from staff_engine.pipelines.pinning import pin
from staff_engine.pipelines.scoring import score_samples
from staff_engine.pipelines.similarity.measures import RESAMPLES, compare_scores, correlate_ranks
from staff_engine.pipelines.similarity.report import (
    REPORT_FILE,
    SCORES,
    SCORES_FILE,
    Length,
    Pair,
    Ranks,
    Reading,
    Report,
    Role,
    Similarity,
    Verdict,
    open_similarity,
)
from staff_engine.pipelines.steps import (
    Training,
    import_rows,
    settle_format,
    tokenize_rows,
    train_adapter,
)
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.integrity.mend import mend
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.stages import Stage
from staff_engine.scoring.parts import PartWriter, read_parts
from staff_engine.selection.drawing import VERIFICATION, priorities
from staff_engine.selection.trust import judge_trust
from staff_engine.system.arrow import read_table, to_numpy, write_table
from staff_engine.system.files import write_checked

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_FILE = "sample.parquet"
SCORED = ("all", "last_block")
FEWEST_SAMPLES = 10

TRAINING = "adapter"


@dataclass(frozen=True)
class _Model:
    """A model to compare, and its folder in the run's folder."""

    name: str
    role: Role
    folder: Path

    @property
    def words(self) -> str:
        return sources.short_name(self.name)


def execute(folder: Path, reporter: Reporter) -> None:
    """Do the remaining steps of a similarity run, from the import to the report.

    Parameters
    ----------
    folder
        A run folder whose plan.json names the models to compare.
    reporter
        Receives each stage and every batch.

    Raises
    ------
    StaffError
        If the data, the plan or a model cannot be used; the message gives the reason.
    """
    pin(folder, open_similarity(folder).compared)
    run = open_similarity(folder)
    compared = _models(run)
    names = list(dict.fromkeys(model.name for model in compared))
    find_models(run.plan, names, reporter)
    mend(folder)
    import_rows(run.plan, folder, reporter)
    sample = _draw(run, compared, reporter)
    first = next(model for model in compared if model.role == "small")
    tokens = open_tokens(first.folder / "tokens.arrow")
    run = replace(run, plan=settle_format(run.plan, folder, first.name, tokens, reporter))
    check_models(run.plan, names, tokens, folder, reporter)
    readings, tables = [], []
    for model in compared:
        tuned = _tuning_rows(run, model, sample)
        states = (np.zeros(0, dtype=np.int64), tuned) if len(tuned) else (tuned,)
        for rows in states:
            _score(run, model, rows, sample, reporter)
            readings.append(Reading(model=model.name, role=model.role, tuned_on=len(rows)))
            tables.append(_scores_of(model, tuned=len(rows) > 0))
    _report(run, readings, tables, len(sample), reporter)


def stages_of(run: Similarity) -> tuple[str, ...]:
    """The names of a run's stages, in order, each once.

    A stage that is already done is skipped by the run.
    """
    gone_through = [stages.LIBRARIES, stages.IMPORT, stages.TOKENIZE]
    if run.plan.dtype == "auto":
        gone_through.append(stages.NUMBER_FORMAT)
    gone_through.append(stages.CHECK)
    for model in _models(run):
        gone_through.append(_scoring(model, tuned=False))
        if model.role == "small" or run.plan.tune_target:
            gone_through += [stages.FINE_TUNE_MODEL.of(model.words), _scoring(model, tuned=True)]
    return tuple(dict.fromkeys(stage.name for stage in [*gone_through, stages.COMPARE]))


def _scoring(model: _Model, *, tuned: bool) -> Stage:
    return stages.SCORE_MODEL.of(f"{model.words}, {_state(tuned)}")


def _models(run: Similarity) -> list[_Model]:
    roles: dict[Role, tuple[str, ...]] = {"small": run.compared.smalls, "target": run.compared.targets}
    return [
        _Model(name, role, run.folder / "models" / f"{role}-{index}")
        for role in get_args(Role)
        for index, name in enumerate(dict.fromkeys(roles[role]))
    ]


def _draw(run: Similarity, compared: Iterable[_Model], reporter: Reporter) -> np.ndarray:
    """Draw the rows that all models score, once, from those that the first small model can read."""
    path = run.folder / SAMPLE_FILE
    rows = open_imported(run.folder / "dataset").facts.rows
    smalls = [model for model in compared if model.role == "small"]
    for model in smalls:
        if not (model.folder / "tokens.arrow").exists():
            reporter.stage(stages.TOKENIZE, rows)
            model.folder.mkdir(parents=True, exist_ok=True)
            tokenize_rows(run.plan, model.name, run.folder, np.arange(rows), model.folder / "tokens.arrow")
            reporter.advance(rows)
    if not path.exists():
        readable = open_tokens(smalls[0].folder / "tokens.arrow").row_ids
        if len(readable) < FEWEST_SAMPLES:
            raise DatasetError(
                f"{run.plan.dataset} has {len(readable)} scorable samples; at least {FEWEST_SAMPLES} are"
                " needed to compare models"
            )
        write_table(path, row_id=np.sort(_in_order(run.plan, readable)[: run.compared.sample]))
    return to_numpy(read_table(path)["row_id"])


def _in_order(plan: Plan, rows: np.ndarray) -> np.ndarray:
    """The rows in the fixed order in which they are drawn."""
    return rows[np.argsort(priorities(plan.seed, rows, VERIFICATION))]


def _tuning_rows(run: Similarity, model: _Model, sample: np.ndarray) -> np.ndarray:
    """The rows to fine-tune a model on: all for a small model, as in a run; `tune_target` for a target.

    The target's rows are separate from the sample as long as there are enough others.
    """
    match model.role:
        case "small":
            return open_tokens(model.folder / "tokens.arrow").row_ids
        case "target":
            readable = open_tokens(run.folder / "models" / "small-0" / "tokens.arrow").row_ids
            apart = _in_order(run.plan, np.setdiff1d(readable, sample))
            return np.sort(np.concatenate([apart, _in_order(run.plan, sample)])[: run.plan.tune_target])
        case _:
            assert_never(model.role)


def _score(
    run: Similarity, model: _Model, tuning: np.ndarray, sample: np.ndarray, reporter: Reporter
) -> None:
    """Score the sample by both choices of parameters on a model, fine-tuned on some rows or on none."""
    tuned = len(tuning) > 0
    folders = [model.folder / f"{_state(tuned)}-{which}" for which in SCORED]
    model.folder.mkdir(parents=True, exist_ok=True)
    tokens = tokenize_rows(run.plan, model.name, run.folder, sample, model.folder / "tokens-sample.arrow")
    done = [set(to_numpy(read_parts(each, ["row_id"])["row_id"]).tolist()) for each in folders]
    if all(len(each) == len(tokens) for each in done):
        return
    if tuned:
        _train(run, model, tuning, reporter)
    reporter.stage(_scoring(model, tuned=tuned), len(SCORED) * len(tokens), done=sum(map(len, done)))
    adapted = AdaptedModel(run.plan, model.name, model.folder / TRAINING if tuned else None)
    for which, folder, known in zip(SCORED, folders, done, strict=True):
        score_samples(adapted, tokens, known, PartWriter(folder), reporter, scored=which)


def _state(tuned: bool) -> str:
    return "tuned" if tuned else "untouched"


def _train(run: Similarity, model: _Model, rows: np.ndarray, reporter: Reporter) -> None:
    if (model.folder / TRAINING).exists():
        return
    training = Training(stages.FINE_TUNE_MODEL.of(model.words), TRAINING, "losses.json")
    match model.role:
        case "small":
            tokens = open_tokens(model.folder / "tokens.arrow")
        case "target":
            path = model.folder / "tokens-tune.arrow"
            tokens = tokenize_rows(run.plan, model.name, run.folder, rows, path)
        case _:
            assert_never(model.role)
    train_adapter(training, run.plan, model.name, tokens, model.folder, reporter)


def _scores_of(model: _Model, *, tuned: bool) -> pd.DataFrame:
    """row_id, response_tokens, loss and both efforts of a reading, with a row for each readable sample."""
    all_, last = (
        read_parts(model.folder / f"{_state(tuned)}-{which}").to_pandas().set_index("row_id").sort_index()
        for which in SCORED
    )
    table = all_[["response_tokens", "loss"]].copy()
    table["effort, all"], table["effort, last_block"] = all_["effort"], last["effort"]
    return table


def _report(
    run: Similarity, readings: list[Reading], tables: list[pd.DataFrame], drawn: int, reporter: Reporter
) -> None:
    """Compare the readings, and write the report."""
    import pandas as pd

    every = pd.concat(tables, keys=range(len(tables)), names=["reading", "row_id"])
    forget(run.folder, SCORES_FILE)
    write_table(
        run.folder / SCORES_FILE, **{name: each.to_numpy() for name, each in every.reset_index().items()}
    )
    wide = {score: every[score].unstack("reading") for score in SCORES}  # (rows, readings) each
    tokens = every["response_tokens"].unstack("reading")

    def lengths_of(first: int, second: int) -> np.ndarray:
        """The mean response tokens of two readings, whose tokenizers can differ."""
        return tokens[[first, second]].mean(axis=1, skipna=False).to_numpy(dtype=float)

    matches = [
        (target, small, score)
        for (target, small), score in itertools.product(_matches(readings), SCORES)
    ]  # fmt: skip
    reporter.stage(stages.COMPARE, len(matches))
    pairs = []
    for target, small, score in matches:
        likeness = compare_scores(
            *(wide[score][index].to_numpy() for index in (target, small)),
            num_strata=run.compared.strata,
            lengths=lengths_of(target, small),
            seed=run.plan.seed,
            resamples=RESAMPLES,
        )
        pairs.append(Pair(target=readings[target], small=readings[small], score=score, likeness=likeness))
        reporter.advance(1)
    ranks = []
    for score, (first, second) in itertools.product(SCORES, itertools.combinations(range(len(readings)), 2)):
        plain, held = correlate_ranks(
            *(wide[score][index].to_numpy() for index in (first, second)),
            lengths=lengths_of(first, second),
            seed=run.plan.seed,
        )
        ranks.append(
            Ranks(first=readings[first], second=readings[second], score=score, correlation=plain, held=held)
        )
    lengths = [
        Length(
            reading=reading,
            score=score,
            correlation=correlate_ranks(
                table[score].to_numpy(), table["response_tokens"].to_numpy(dtype=float), seed=run.plan.seed
            )[0],
        )
        for reading, table in zip(readings, tables, strict=True)
        for score in SCORES
    ]
    report = Report(
        samples=drawn, strata=run.compared.strata, readings=tuple(readings), pairs=tuple(pairs),
        ranks=tuple(ranks), lengths=tuple(lengths), verdicts=tuple(_verdicts(run.plan, pairs)),
    )  # fmt: skip
    write_checked(run.folder / REPORT_FILE, report.as_json())


def _matches(readings: list[Reading]) -> list[tuple[int, int]]:
    """Index pairs of targets and small models to compare.

    A fine-tuned small model is compared with every target, an untouched one with untouched targets.
    """
    indices = {role: [i for i, each in enumerate(readings) if each.role == role] for role in get_args(Role)}
    return [
        (target, small)
        for target, small in itertools.product(indices["target"], indices["small"])
        if readings[small].tuned_on or not readings[target].tuned_on
    ]


def _verdicts(plan: Plan, pairs: Iterable[Pair]) -> Iterable[Verdict]:
    """The rating of each fine-tuned small model for each target, by either effort."""
    for pair in pairs:
        score, _, scored = pair.score.partition(", ")
        if score == "effort" and pair.small.tuned_on:
            trust = judge_trust(
                pair.likeness.agreement,
                epochs=plan.epochs,
                scored_parameters=scored,
                target_tuned=pair.target.tuned_on > 0,
            )
            yield Verdict(target=pair.target, small=pair.small, score=pair.score, trust=trust)
