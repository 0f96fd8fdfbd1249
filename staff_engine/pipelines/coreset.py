"""The steps of a run, in order: the only module that calls all of them.

Each step checks the run's folder and does only what is missing. So a run that was cancelled
or killed continues after its last complete file.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from staff_engine.brought_scores import NO_MODEL, OWN
from staff_engine.data.dataset import open_imported
from staff_engine.data.tokenization import tokenize_dataset
from staff_engine.data.tokens import open_tokens
from staff_engine.errors import DatasetError, PlanError
from staff_engine.models import loading
from staff_engine.pipelines.adapted import AdaptedModel
from staff_engine.pipelines.brought_scores import take_scores, tokenizer_of
from staff_engine.pipelines.checking import check_models, find_models
from staff_engine.pipelines.helping import Reporter
from staff_engine.pipelines.pinning import pin
from staff_engine.pipelines.scoring import score_losses, score_samples
from staff_engine.pipelines.steps import (
    Training,
    check_ids,
    import_rows,
    length_bound,
    settle_format,
    tokenize_rows,
    train_adapter,
)
from staff_engine.pipelines.summarize import summarize, too_few_to_tune
from staff_engine.pipelines.trajectories import adapters_to_keep, measure_trajectories
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.runs import stages
from staff_engine.runs.integrity.check import check_files
from staff_engine.runs.integrity.mend import mend
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.results import TUNING_FILE, UNSCORABLE_FILE, open_results
from staff_engine.runs.summary import save_summary
from staff_engine.runs.verification.drawing import to_tune, to_verify, to_verify_alone
from staff_engine.runs.verification.rounds import add_round, key_of
from staff_engine.scoring.own_scores import own_scores
from staff_engine.scoring.parts import LossPartWriter, PartWriter, alone_folder, read_parts
from staff_engine.scoring.precision import settle
from staff_engine.selection.ratios.rounds import NOT_ADAPTIVE, check_adaptive
from staff_engine.system.arrow import write_table
from staff_engine.system.files import replaced
from staff_engine.system.words import counted

log = logging.getLogger(__name__)

SMALL = Training(stages.FINE_TUNE, "adapter", "fine_tuning.json")
TARGET = Training(stages.TUNE_TARGET, "target_adapter", "target_tuning.json")


def execute(folder: Path, reporter: Reporter) -> None:
    """Do the remaining steps of a run, from the import to the summary.

    Parameters
    ----------
    folder
        A run folder with its plan.json.
    reporter
        Receives each stage and every batch.

    Raises
    ------
    StaffError
        If the data, the plan or a model cannot be used; the message gives the reason.
    """
    _refuse_missing_scores(open_results(folder).plan, folder)
    pin(folder)
    plan = open_results(folder).plan
    if plan.adaptive:
        check_adaptive(plan.allocation)
    find_models(plan, plan.models, reporter)
    mend(folder)
    import_rows(plan, folder, reporter)
    _tokenize(plan, folder, reporter)
    tokens = open_tokens(folder / "tokens.arrow")
    if plan.models:
        plan = settle_format(plan, folder, tokenizer_of(plan), tokens, reporter)
        check_models(plan, plan.models, tokens, folder, reporter)
    if plan.scores is None:
        _finetune(plan, folder, reporter)
        _speculate(plan, folder, reporter)
    else:
        _write_unscorable(folder, {**tokens.problems, **take_scores(plan, folder, tokens, reporter)})
    if plan.scores_alone:
        _speculate_alone(plan, folder, reporter)
    if plan.checkpoints:
        measure_trajectories(plan, folder, reporter)
    if plan.target != NO_MODEL:
        _tune_target(plan, folder, reporter)
        _verify(plan, folder, reporter, {})
    _summarize(folder, reporter)


def _refuse_missing_scores(plan: Plan, folder: Path) -> None:
    """Raise PlanError, before any work, if the plan uses a score that a user has to add to the run."""
    for name, score in (("score", plan.score), ("drop_by", plan.drop_by)):
        if plan.scores is None and score.startswith(OWN) and score not in own_scores(folder):
            raise PlanError(
                f"{name} is {score!r}, but scores can only be added to a run that has finished; start with"
                " another score"
            )


def stages_of(plan: Plan) -> tuple[str, ...]:
    """The names of the stages of a plan's run, in order, up to the coreset."""
    asked = {
        stages.NUMBER_FORMAT: plan.dtype == "auto" and bool(plan.models),
        stages.CHECK: bool(plan.models),
        stages.FINE_TUNE: plan.scores is None,
        stages.SPECULATE: plan.scores is None,
        stages.TAKE_SCORES: plan.scores is not None,
        stages.VERIFY: plan.target != NO_MODEL,
        stages.SPECULATE_ALONE: plan.scores_alone,
        stages.TRAIN_AGAIN: False,
        stages.TRAJECTORIES: plan.checkpoints > 0,
        stages.TUNE_TARGET: plan.tune_target > 0,
        stages.VERIFY_ALONE: plan.scores_alone,
        stages.EXPORT: False,
    }
    return tuple(stage.name for stage in stages.CORESET if asked.get(stage, True))


def verify_missing(folder: Path, reporter: Reporter, settings: dict[str, Any]) -> None:
    """Score the samples that other selection settings still need, and what their score still lacks.

    Parameters
    ----------
    settings
        Selection settings and `verify_per_stratum`, as `verification.drawing.to_verify` takes them.
    """
    results = open_results(folder)
    plan = settle(results.plan, folder, tokenizer_of(results.plan), open_tokens(folder / "tokens.arrow"))
    wanted = results.settings(**{name: settings[name] for name in ("score", "drop_by") if name in settings})
    scores = {wanted["score"], wanted["drop_by"]} - {"score"}
    if any(results.lacks(score) for score in scores):
        _speculate_alone(plan, folder, reporter)
    _verify(plan, folder, reporter, settings)
    _summarize(folder, reporter)


def _tokenize(plan: Plan, folder: Path, reporter: Reporter) -> None:
    path = folder / "tokens.arrow"
    if path.exists():
        return
    imported = open_imported(folder / "dataset")
    reporter.stage(stages.TOKENIZE, imported.facts.rows)
    name = tokenizer_of(plan)
    tokenizer = loading.load_tokenizer(name, plan.chat_template)
    if tokenizer.is_fast:  # to show people the text of a token
        with replaced(folder / "tokenizer.json") as part:
            tokenizer.backend_tokenizer.save(str(part))
    tokenize_dataset(
        imported.rows,
        tokenizer,
        path,
        max_length=length_bound(plan, name) if plan.models else plan.max_length,
        conversation=imported.facts.conversation,
        on_progress=reporter.advance,
    )
    tokens = open_tokens(path)
    check_ids(tokens, name)
    _write_unscorable(folder, tokens.problems)
    if len(tokens.row_ids) < 2:
        reason = next(iter(tokens.problems.values()), None)
        first = f" (first: {reason})" if reason else ""
        raise DatasetError(
            f"{plan.dataset} has {counted(len(tokens), 'scorable sample')}; at least 2 are needed{first}"
        )
    if tokens.cut:
        log.warning("%d responses were longer than %d tokens and were truncated", tokens.cut, plan.max_length)


def _finetune(plan: Plan, folder: Path, reporter: Reporter) -> None:
    if not (folder / SMALL.adapter).exists():
        tokens = open_tokens(folder / "tokens.arrow")
        keep = adapters_to_keep(plan, tokens, folder)
        train_adapter(SMALL, plan, plan.small, tokens, folder, reporter, keep=keep)


def _speculate(plan: Plan, folder: Path, reporter: Reporter) -> None:
    tokens = open_tokens(folder / "tokens.arrow")
    done = set(read_parts(folder / "speculative", ["row_id"])["row_id"].to_pylist())
    reporter.stage(stages.SPECULATE, len(tokens), done=len(done))
    if len(done) < len(tokens):
        writer = PartWriter(folder / "speculative", folder / "embedding", folder / "token_loss")
        score_samples(_small(plan, folder), tokens, done, writer, reporter)
    _write_unscorable(folder, {**tokens.problems, **_not_finite(folder)})


def _speculate_alone(plan: Plan, folder: Path, reporter: Reporter) -> None:
    """Score all responses without their prompts on the small model."""
    tokens = open_tokens(folder / "tokens.arrow")
    alone = alone_folder(folder / "speculative")
    done = set(read_parts(alone, ["row_id"])["row_id"].to_pylist())
    reporter.stage(stages.SPECULATE_ALONE, len(tokens), done=len(done))
    if len(done) < len(tokens):
        writer = LossPartWriter(alone)
        score_losses(_small(plan, folder), tokens, done, writer, reporter, without_prompts=True)


def _small(plan: Plan, folder: Path) -> AdaptedModel:
    return AdaptedModel(plan, plan.small, folder / SMALL.adapter)


def _tune_target(plan: Plan, folder: Path, reporter: Reporter) -> None:
    """Fine-tune the target on separate samples, if the plan says so; they are drawn once."""
    path, adapter = folder / TUNING_FILE, folder / TARGET.adapter
    if not plan.tune_target or (path.exists() and adapter.exists()):
        return
    reporter.stage(TARGET.stage)
    results = open_results(folder)
    ids = results.tuned_ids if path.exists() else to_tune(results)
    if len(ids):
        tokens = tokenize_rows(plan, plan.target, folder, ids, folder / "tokens-tune.arrow")
        ids = tokens.row_ids
    if not path.exists():
        write_table(path, row_id=ids)
    for warning in too_few_to_tune(plan, len(ids)):
        log.warning(warning)
    if len(ids) and not adapter.exists():
        train_adapter(TARGET, plan, plan.target, tokens, folder, reporter)


def _verify(plan: Plan, folder: Path, reporter: Reporter, settings: dict[str, Any]) -> None:
    """Verify the samples that the settings need: all at once, or in rounds."""
    target = _target(plan, folder)
    _verify_alone(target, folder, reporter)  # what a stopped run left
    results = open_results(folder)
    ids = to_verify(results, **settings)
    if not len(ids):
        reporter.stage(stages.VERIFY)
    adaptive = settings.get("adaptive", plan.adaptive)
    in_rounds = adaptive and settings.get("allocation", plan.allocation) != NOT_ADAPTIVE
    chosen = {name: value for name, value in settings.items() if name in SELECTION_FIELDS}
    key = key_of(results.settings(**chosen), settings.get("verify_per_stratum", plan.verify_per_stratum))
    while len(ids):
        if in_rounds:
            add_round(folder, key, ids)
        _verify_rows(target, folder, reporter, ids)
        _verify_alone(target, folder, reporter)
        ids = to_verify(open_results(folder), **settings) if in_rounds else ids[:0]


def _verify_rows(target: AdaptedModel, folder: Path, reporter: Reporter, ids: np.ndarray) -> None:
    """Score some rows on the target."""
    reporter.stage(stages.VERIFY, len(ids))
    tokens = tokenize_rows(target.plan, target.name, folder, ids, folder / "tokens-verify.arrow")
    writer = PartWriter(folder / "verification")
    writer.add_unscorable(list(tokens.problems))
    score_samples(target, tokens, set(), writer, reporter)


def _verify_alone(target: AdaptedModel, folder: Path, reporter: Reporter) -> None:
    """Score the responses of all verified samples without their prompts, if the small model has done so."""
    ids = to_verify_alone(open_results(folder))
    if not len(ids):
        return
    reporter.stage(stages.VERIFY_ALONE, len(ids))
    tokens = tokenize_rows(target.plan, target.name, folder, ids, folder / "tokens-verify.arrow")
    writer = LossPartWriter(alone_folder(folder / "verification"))
    score_losses(target, tokens, set(), writer, reporter, without_prompts=True)


def _target(plan: Plan, folder: Path) -> AdaptedModel:
    """The target, with its adapter if it was tuned."""
    if not len(open_results(folder).tuned_ids):
        return AdaptedModel(plan, plan.target)
    check_files(folder, TARGET.adapter)
    return AdaptedModel(plan, plan.target, folder / TARGET.adapter)


def _not_finite(folder: Path) -> dict[int, str]:
    table = read_parts(folder / "speculative", ["row_id", "effort"])
    wrong = np.isnan(table["effort"].to_numpy())
    return {int(row): "its score is not a finite number" for row in table["row_id"].to_numpy()[wrong]}


def _write_unscorable(folder: Path, reasons: dict[int, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sorted(reasons)
    table = pa.table(
        {
            "row_id": pa.array(rows, pa.int64()),
            "reason": pa.array([reasons[row] for row in rows], pa.string()),
        }
    )
    forget(folder, UNSCORABLE_FILE)
    with replaced(folder / UNSCORABLE_FILE) as part:
        pq.write_table(table, part, write_page_checksum=True)


def _summarize(folder: Path, reporter: Reporter) -> None:
    reporter.stage(stages.SELECT, 1)
    save_summary(folder, summarize(open_results(folder)))
    reporter.advance(1)
