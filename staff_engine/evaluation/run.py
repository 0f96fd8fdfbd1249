"""The steps of an evaluation run: fine-tune the target on each coreset, evaluate it on held-out samples.

Each step checks the folder and does only what is missing, as in `pipelines`. Cells are short, so an
unfinished cell starts again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from staff_engine.data.builtin.kinds import kind_shares
from staff_engine.data.tokens import TokenTable, open_tokens
from staff_engine.errors import RunError
from staff_engine.evaluation.cells import (
    FULL,
    NOTHING,
    Asked,
    Scores,
    cells_of,
    check_arms,
    needs_target_scores,
    read_cell,
    sha256_of,
    write_cell,
)
from staff_engine.evaluation.held_out import choose_held_out, import_held_out, metric_of, shared_samples
from staff_engine.evaluation.metrics import METRICS
from staff_engine.evaluation.report import (
    FACTS_FILE,
    Evaluation,
    Facts,
    judging_of,
    open_evaluation,
)
from staff_engine.evaluation.training import Bench, learning_rate, make_cell
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.models import devices, loading
from staff_engine.pipelines.adapted import AdaptedModel
from staff_engine.pipelines.checking import find_models
from staff_engine.pipelines.helping import HelperReporter, Reporter, shared
from staff_engine.pipelines.scoring import score_samples
from staff_engine.pipelines.steps import Training, tokenize_rows, train_adapter
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.cost import column_seconds, selection_seconds, small_seconds
from staff_engine.runs.folders import SUMMARY_FILE
from staff_engine.runs.integrity.mend import mend
from staff_engine.runs.results import Results, open_results
from staff_engine.runs.score_tables import (
    check_measured,
    choose,
    missing_of,
    read_scores,
    settings_of,
    small_scores,
)
from staff_engine.scoring.parts import PartWriter, read_parts
from staff_engine.scoring.precision import read_precision
from staff_engine.selection.methods import METHODS, OWN, ScoreTable
from staff_engine.system.arrow import by_row, to_numpy
from staff_engine.system.calls import Call
from staff_engine.system.files import write_checked
from staff_engine.system.memory import give_back

TARGET = Training(stages.FINE_TUNE_TARGET, "target_adapter", "target_tuning.json")
TARGET_SCORES = "target_scores"
TOKENS_FILE = "tokens.arrow"

PACKAGES = ("torch", "transformers", "peft")

Coresets = dict[Asked, tuple[np.ndarray, float]]
"""For each cell, the row ids of its training data, ascending, and the seconds of their selection."""

_Todo = tuple[Asked, np.ndarray, float]
"""A cell to compute, its row ids, and the seconds of their selection."""

log = logging.getLogger(__name__)


def execute(folder: Path, reporter: Reporter) -> None:
    """Run all remaining steps of an evaluation run, from the held-out samples to the last cell.

    Parameters
    ----------
    folder
        A run folder with an evaluation in its plan.json.
    reporter
        Receives each stage, step and cell.

    Raises
    ------
    StaffError
        If the source run, the held-out data or a model cannot be used. The message gives the reason.
    """
    run = open_evaluation(folder)
    check_arms(run.evaluation)
    source, further = open_sources(run.plan, run.evaluation)
    find_models(run.plan, (run.plan.target,), reporter)
    mend(folder)
    run = replace(run, plan=run.plan.but(dtype=_number_format(source)))
    kept_apart = import_held_out(folder, run.plan, run.evaluation, reporter)
    tokens = _tokenize(run, source, reporter)
    table = _target_scores(run, source, tokens, reporter)
    bench = _bench(run, source, tokens, kept_apart)
    choice = _Choice(run.evaluation, source, further, small_scores(source), table, tokens.row_ids)
    coresets = choice.coresets(cells_of(run.plan, run.evaluation))
    facts = _facts(run, source, further, bench, coresets, kept_apart)
    write_checked(folder / FACTS_FILE, facts.model_dump(mode="json"))
    _fill(run, bench, coresets, kept_apart, reporter)


def stages_of(run: Evaluation) -> tuple[str, ...]:
    """The names of the stages that a run goes through, in order."""
    unasked = () if needs_target_scores(run.evaluation) else stages.TARGET_SCORES
    return tuple(stage.name for stage in stages.EVALUATION if stage not in unasked)


def open_sources(plan: Plan, evaluation: EvaluationPlan) -> tuple[Results, dict[str, Results]]:
    """Open the run whose coresets are evaluated, and the other runs by label.

    Raises
    ------
    RunError
        If a run is missing or unfinished, uses other data, has unverified samples for a rate, or has not
        measured what a method reads.
    """
    source = _finished(Path(evaluation.source))
    further = {label: _finished(Path(folder)) for label, folder in evaluation.also.items()}
    own = source.imported.facts.fingerprint
    for label, other in further.items():
        if other.imported.facts.fingerprint != own:
            raise RunError(f"run {other.folder.name} ({label}) uses other data than {source.folder.name}")
        if other.plan.target != plan.target:
            log.warning(
                "run %s verified its samples on %s, not on the target", other.folder.name, other.plan.target
            )
    for name in evaluation.methods:
        check_measured(name, source)
    selecting = [(name, source) for name in evaluation.methods] + [(OWN, each) for each in further.values()]
    for name, results in selecting:
        for rate in evaluation.pruning_rates:
            missing, command = missing_of(name, results, pruning_rate=rate, seed=results.plan.seed)
            if missing:
                raise RunError(
                    f"run {results.folder.name} has {missing:,} unverified samples for"
                    f" {METHODS[name].label} at pruning rate {rate:g}; run this first: {command}"
                )
    return source, further


def _finished(folder: Path) -> Results:
    if not (folder / SUMMARY_FILE).exists():
        raise RunError(f"run {folder.name} is missing or unfinished; the evaluation needs all its scores")
    return open_results(folder)


def _number_format(source: Results) -> str:
    """The number format of the source run's models: its scores and the cells must use the same."""
    known = read_precision(source.folder) if source.plan.dtype == "auto" else None
    return known.dtype if known is not None else source.plan.dtype


def _tokenize(run: Evaluation, source: Results, reporter: Reporter) -> TokenTable:
    """Tokens of all samples of the source for the target."""
    path = run.folder / TOKENS_FILE
    if not path.exists():
        reporter.stage(stages.TOKENIZE, source.num_rows)
        tokenize_rows(run.plan, run.plan.target, source.folder, np.arange(source.num_rows), path)
        reporter.advance(source.num_rows)
    return open_tokens(path)


def _target_scores(
    run: Evaluation, source: Results, tokens: TokenTable, reporter: Reporter
) -> ScoreTable | None:
    """Scores of all samples on the fine-tuned target, as for the paper's baselines."""
    if not needs_target_scores(run.evaluation):
        return None
    plan, folder = run.plan, run.folder / TARGET_SCORES
    if not (run.folder / TARGET.adapter).exists():
        train_adapter(TARGET, plan, plan.target, tokens, run.folder, reporter)
    done = set(to_numpy(read_parts(folder / "speculative", ["row_id"])["row_id"]).tolist())
    if len(done) < len(tokens):
        reporter.stage(stages.SCORE_ON_TARGET, len(tokens), done=len(done))
        adapted = AdaptedModel(plan, plan.target, run.folder / TARGET.adapter)
        folder.mkdir(exist_ok=True)
        writer = PartWriter(folder / "speculative", folder / "embedding")
        score_samples(adapted, tokens, done, writer, reporter)
    table = read_parts(folder / "speculative", ["row_id", "effort"])
    effort = by_row(source.num_rows, to_numpy(table["row_id"]), to_numpy(table["effort"]))
    return read_scores(folder, effort, source="target")


def _bench(run: Evaluation, source: Results, tokens: TokenTable, kept_apart: Path) -> Bench:
    plan, evaluation = run.plan, run.evaluation
    held_out = choose_held_out(kept_apart, plan, evaluation)
    metric = metric_of(plan, evaluation, held_out.references)
    made_with: dict[str, Any] = {
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "target": plan.target,
        "device": devices.choose_device(plan.device).partition(":")[0],
        "dtype": plan.dtype,
        "data": source.imported.facts.fingerprint,
        **plan.model_dump(include={"max_length", "epochs", "batch_size", "lora_rank", "lora_alpha"}),
        "learning_rate": learning_rate(plan),
        "held_out": held_out.fingerprint,
        "held_out_rows": sha256_of(held_out.tokens.row_ids),
        "answers": len(held_out.answered),
    }
    if len(held_out.answered):
        package = METRICS[metric].package
        made_with["versions"][package] = metadata.version(package)
        made_with |= {"metric": metric, "answer_tokens": evaluation.answer_tokens}
    return Bench(plan, evaluation, tokens, held_out, metric, loading.load_tokenizer(plan.target), made_with)


def _facts(
    run: Evaluation,
    source: Results,
    further: dict[str, Results],
    bench: Bench,
    coresets: Coresets,
    kept_apart: Path,
) -> Facts:
    known = run.facts
    own = [name for name in run.evaluation.methods if METHODS[name].of_run]
    of_small = [name for name in run.evaluation.methods if METHODS[name].of_small]
    seconds = {
        "small": small_seconds(source),
        **{name: selection_seconds(source, **settings_of(name, {})) for name in own},
        **{name: sum(column_seconds(source, each) for each in METHODS[name].reads) for name in of_small},
        **{label: selection_seconds(results) for label, results in further.items()},
    }
    return Facts(
        made_with=bench.made_with,
        metric=bench.metric,
        held_out=len(bench.held_out.tokens),
        answers=len(bench.held_out.answered),
        samples=len(bench.tokens),
        selection_seconds=seconds,
        warnings=(
            known.warnings
            if known is not None and known.made_with == bench.made_with
            else tuple(shared_samples(kept_apart, source))
        ),
        judging=judging_of(run.evaluation),
        coresets={asked.key: sha256_of(rows) for asked, (rows, _) in coresets.items()},
        response_tokens=tuple(bench.held_out.tokens.response_tokens.tolist()),
        kinds={
            asked.key: kind_shares(source.kinds, rows)
            for asked, (rows, _) in coresets.items()
            if source.kinds is not None and len(rows)
        },
    )


@dataclass(frozen=True)
class _Choice:
    """Selects the rows on which a cell is trained."""

    evaluation: EvaluationPlan
    source: Results
    further: dict[str, Results]
    small: ScoreTable
    target: ScoreTable | None
    readable: np.ndarray  # row ids on which the target can be trained

    def coresets(self, every: list[Asked]) -> Coresets:
        """The coreset of every cell. Cells with the same coreset share one selection."""
        known: Coresets = {}
        coresets: Coresets = {}
        for asked in every:
            same = replace(asked, budget=None, seed=asked.seed if self._draws(asked.arm) else 0)
            if same not in known:
                known[same] = self._rows(same)
            coresets[asked] = known[same]
        return coresets

    def _draws(self, arm: str) -> bool:
        return arm in self.further or (arm in METHODS and METHODS[arm].draws)

    def _rows(self, asked: Asked) -> tuple[np.ndarray, float]:
        if asked.arm in (NOTHING, FULL):
            return (self.readable if asked.arm == FULL else self.readable[:0]), 0.0
        begun = time.perf_counter()
        assert asked.pruning_rate is not None
        settings: dict[str, Any] = {"pruning_rate": asked.pruning_rate, "seed": asked.seed}
        if asked.arm in self.further:
            own_draw = self.evaluation.own_draw
            rows = self.further[asked.arm].select(own_draw=own_draw, **settings).indices
        else:
            # The copy has no cached graphs, so the time of each D2 coreset includes its own search.
            table = replace(self._table(asked.scores))
            rows = choose(
                asked.arm, self.source, table, **settings,
                beta=self.evaluation.beta, strata=self.evaluation.baseline_strata,
                own_draw=self.evaluation.own_draw,
            )  # fmt: skip
        seconds = time.perf_counter() - begun
        return np.intersect1d(rows, self.readable), seconds

    def _table(self, scores: Scores | None) -> ScoreTable:
        """The scores that a cell reads; the small model's if the method reads none."""
        if scores != "target":
            return self.small
        if self.target is None:
            raise RunError("a coreset needs the target's scores, but this evaluation has not computed them")
        return self.target


def _fill(run: Evaluation, bench: Bench, coresets: Coresets, kept_apart: Path, reporter: Reporter) -> None:
    """Compute every cell that is missing or outdated; the processes of the run divide the cells."""
    todo = [
        (asked, rows, seconds)
        for asked, (rows, seconds) in coresets.items()
        if not _trusted(run.folder, asked, rows, bench.made_with)
    ]
    reporter.stage(stages.EVALUATE, len(coresets), done=len(coresets) - len(todo))
    if not todo:
        return
    files = (run.folder / TOKENS_FILE,)
    with shared(_help_fill, run, todo, kept_apart, reporter=reporter, files=files) as (call, reports):
        _make(run.folder, bench, todo, call, reports)


def _help_fill(call: Call, run: Evaluation, todo: list[_Todo], kept_apart: Path) -> None:
    """Compute the cells that fall to a helper."""
    source, _ = open_sources(run.plan, run.evaluation)
    bench = _bench(run, source, open_tokens(run.folder / TOKENS_FILE), kept_apart)
    _make(run.folder, bench, todo, call, HelperReporter(call))


def _make(folder: Path, bench: Bench, todo: list[_Todo], call: Call, reporter: Reporter) -> None:
    for number in call.deal(len(todo)):
        asked, rows, seconds = todo[number]
        write_cell(folder, make_cell(bench, asked, rows, seconds, reporter))
        give_back()
        reporter.advance(1)


def _trusted(folder: Path, asked: Asked, rows: np.ndarray, made_with: dict[str, Any]) -> bool:
    cell = read_cell(folder, asked)
    return cell is not None and cell.made_with == made_with and cell.rows_sha256 == sha256_of(rows)
