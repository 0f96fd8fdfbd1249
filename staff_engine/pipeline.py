"""The steps of a run, in order: the only place that calls them one after the other.

Each step looks at what the folder holds and does what is missing, so that a run that
was cancelled or killed goes on where its last whole file ends.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from staff_engine import models
from staff_engine.agreement import rank_agreement
from staff_engine.columns import to_arrow
from staff_engine.dataset import import_dataset, open_imported
from staff_engine.errors import DatasetError
from staff_engine.files import replaced, write_json
from staff_engine.finetune import checkpoint_folder, count_steps, finetune, steps_done
from staff_engine.parts import PartWriter, read_parts
from staff_engine.plan import Plan
from staff_engine.results import TUNING_FILE, Results, open_results
from staff_engine.scoring import Scorer, plan_batches
from staff_engine.tokenization import tokenize_dataset
from staff_engine.tokens import TokenTable, open_tokens
from staff_engine.trust import judge_trust

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Training:
    """The fine-tuning of one of the two models: its stage, and what it leaves in the run's folder."""

    stage: str
    adapter: str
    losses: str


SMALL = _Training("fine-tune", "adapter", "fine_tuning.json")
TARGET = _Training("tune target", "target_adapter", "target_tuning.json")


class Reporter(Protocol):
    """Where a run says how far it is; `advance` raises when the run is to be cancelled."""

    def stage(self, name: str, total: int = 0, unit: str = "samples", done: int = 0) -> None: ...
    def advance(self, count: int = 1) -> None: ...
    def message(self, text: str) -> None: ...
    @property
    def cancelled(self) -> bool: ...


def execute(folder: Path, reporter: Reporter) -> None:
    """Do whatever a run has not done yet, from the import to the summary.

    Parameters
    ----------
    folder
        A run folder with its plan.json.
    reporter
        Told of each stage and of every batch.

    Raises
    ------
    StaffError
        If the data, the plan or a model does not allow it; the message says why.
    """
    plan = open_results(folder).plan
    _check_models(plan)
    _import(plan, folder, reporter)
    _tokenize(plan, folder, reporter)
    _finetune(plan, folder, reporter)
    _speculate(plan, folder, reporter)
    _tune_target(plan, folder, reporter)
    _verify(plan, folder, reporter, ids=open_results(folder).to_verify())
    _summarize(folder, reporter)


def verify_missing(folder: Path, reporter: Reporter, settings: dict[str, Any]) -> None:
    """Let the target score what other selection settings still need.

    Parameters
    ----------
    settings
        Selection settings and `verify_per_stratum`, as `Results.to_verify` takes them.
    """
    results = open_results(folder)
    _verify(results.plan, folder, reporter, ids=results.to_verify(**settings))
    _summarize(folder, reporter)


def _check_models(plan: Plan) -> None:
    """Before any work: both models can be found, on a device that is there."""
    models.find_model(plan.small)
    models.find_model(plan.target)
    models.choose_device(plan.device)


def _import(plan: Plan, folder: Path, reporter: Reporter) -> None:
    if (folder / "dataset").exists():
        return
    reporter.stage("import", plan.limit or 0, "rows")
    import_dataset(
        plan.dataset,
        folder / "dataset",
        format=plan.format,
        prompt_column=plan.prompt_column,
        response_column=plan.response_column,
        split=plan.split,
        limit=plan.limit,
        on_progress=reporter.advance,
    )


def _tokenize(plan: Plan, folder: Path, reporter: Reporter) -> None:
    path = folder / "tokens.arrow"
    if path.exists():
        return
    imported = open_imported(folder / "dataset")
    reporter.stage("tokenize", imported.facts.rows)
    tokenizer = models.load_tokenizer(plan.small)
    if tokenizer.is_fast:  # so that people can be shown what a token says
        with replaced(folder / "tokenizer.json") as part:
            tokenizer.backend_tokenizer.save(str(part))
    tokenize_dataset(
        imported.rows,
        tokenizer,
        path,
        max_length=length_bound(plan, plan.small),
        conversation=imported.facts.conversation,
        on_progress=reporter.advance,
    )
    tokens = open_tokens(path)
    _write_unscorable(folder, tokens.problems)
    if len(tokens.row_ids) < 2:
        reason = next(iter(tokens.problems.values()), "no reason")
        raise DatasetError(
            f"{plan.dataset} has {len(tokens)} scorable samples; at least 2 are needed (first: {reason})"
        )
    if tokens.cut:
        log.warning("%d responses did not fit into %d tokens and were cut", tokens.cut, plan.max_length)


def _finetune(plan: Plan, folder: Path, reporter: Reporter) -> None:
    if not (folder / SMALL.adapter).exists():
        _train(SMALL, plan, plan.small, open_tokens(folder / "tokens.arrow"), folder, reporter)


def _train(
    training: _Training, plan: Plan, name: str, tokens: TokenTable, folder: Path, reporter: Reporter
) -> None:
    """Fine-tune a model into an adapter, from its last checkpoint on if there is one."""
    part = folder / f"{training.adapter}.part"
    steps = count_steps(len(tokens), epochs=plan.epochs, batch_size=plan.batch_size)
    done = steps_done(part)
    reporter.stage(training.stage, steps, "steps", done)

    def on_step(step: int) -> bool:
        nonlocal done
        if reporter.cancelled:
            return False
        reporter.advance(step - done)
        done = step
        return True

    finished = finetune(
        _with_fresh_lora(plan, name),
        tokens,
        tokens.lengths,
        part,
        pad_token_id=models.load_tokenizer(name).pad_token_id,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate or models.default_learning_rate(name),
        seed=plan.seed,
        on_step=on_step,
        on_loss=lambda history: write_json(folder / training.losses, history),
    )
    if not finished:
        reporter.advance(0)  # raises: the run is being cancelled
    part.replace(folder / training.adapter)
    shutil.rmtree(checkpoint_folder(part), ignore_errors=True)


def _with_fresh_lora(plan: Plan, name: str) -> PeftModel:
    model = models.load_model(name, device=plan.device, dtype=plan.dtype)
    return models.add_lora(model, rank=plan.lora_rank, alpha=plan.lora_alpha, seed=plan.seed)


def _speculate(plan: Plan, folder: Path, reporter: Reporter) -> None:
    tokens = open_tokens(folder / "tokens.arrow")
    done = set(read_parts(folder / "speculative", ["row_id"])["row_id"].to_pylist())
    reporter.stage("speculate", len(tokens), done=len(done))
    if len(done) < len(tokens):
        model = models.load_model(plan.small, device=plan.device, dtype=plan.dtype)
        adapted = models.load_adapter(model, folder / SMALL.adapter)
        tokenizer = models.load_tokenizer(plan.small)
        writer = PartWriter(folder / "speculative", folder / "embedding", folder / "token_loss")
        _score(plan, adapted, tokenizer, tokens, done, writer, reporter)
    _write_unscorable(folder, {**tokens.problems, **_not_finite(folder)})


def _tune_target(plan: Plan, folder: Path, reporter: Reporter) -> None:
    """Fine-tune the target on samples of its own, if the plan says so; they are drawn once."""
    if not plan.tune_target or (folder / TARGET.adapter).exists():
        return
    reporter.stage(TARGET.stage, unit="steps")
    path = folder / TUNING_FILE
    results = open_results(folder)
    ids = results.tuned_ids if path.exists() else results.to_tune()
    if len(ids):
        tokens = _target_tokens(plan, folder, ids, "tokens-tune.arrow")
        ids = tokens.row_ids
    if not path.exists():
        _write_rows(path, ids)
    for warning in _too_few_to_tune(plan, len(ids)):
        log.warning(warning)
    if len(ids):
        _train(TARGET, plan, plan.target, tokens, folder, reporter)


def _write_rows(path: Path, ids: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replaced(path) as part:
        pq.write_table(pa.table({"row_id": to_arrow(ids)}), part)


def _too_few_to_tune(plan: Plan, tuned: int) -> list[str]:
    """What to say where fewer samples than the plan asks for are left beside the verified ones."""
    if tuned >= plan.tune_target:
        return []
    asked = f"The target was to be tuned on {plan.tune_target:,} samples apart from the verified ones"
    return [f"{asked}; there are {tuned:,}." if tuned else f"{asked}; there is none, so it is untouched."]


def _verify(plan: Plan, folder: Path, reporter: Reporter, ids: np.ndarray) -> None:
    reporter.stage("verify", len(ids))
    if not len(ids):
        return
    tokens = _target_tokens(plan, folder, ids, "tokens-verify.arrow")
    writer = PartWriter(folder / "verification")
    writer.add_unscorable(list(tokens.problems))
    if len(open_results(folder).tuned_ids):
        model = models.load_model(plan.target, device=plan.device, dtype=plan.dtype)
        adapted = models.load_adapter(model, folder / TARGET.adapter)
    else:
        adapted = _with_fresh_lora(plan, plan.target)
    tokenizer = models.load_tokenizer(plan.target)
    _score(plan, adapted, tokenizer, tokens, set(), writer, reporter)


def _target_tokens(plan: Plan, folder: Path, ids: np.ndarray, file: str) -> TokenTable:
    """Some rows as the target reads them."""
    imported = open_imported(folder / "dataset")
    tokenize_dataset(
        imported.rows.select(ids),
        models.load_tokenizer(plan.target),
        folder / file,
        max_length=length_bound(plan, plan.target),
        conversation=imported.facts.conversation,
    )
    return open_tokens(folder / file)


def _score(
    plan: Plan,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: TokenTable,
    done: set[int],
    writer: PartWriter,
    reporter: Reporter,
) -> None:
    """Score all samples but those done; what was scored is on disk even if this is cancelled."""
    model.requires_grad_(False)
    scorer = Scorer(
        model, models.scored_layers(model, plan.scored_parameters), pad_token_id=tokenizer.pad_token_id
    )
    vocabulary = model.get_output_embeddings().weight.shape[0]
    batches = plan_batches(
        tokens.lengths,
        tokens.response_tokens,
        tokens=plan.tokens_per_batch,
        vocabulary=vocabulary,
    )
    try:
        for batch in batches:
            if tokens.row_ids[batch[0]] in done:
                continue
            start = time.perf_counter()
            scores = scorer.score([tokens[i] for i in batch])
            writer.add(tokens, batch, scores, time.perf_counter() - start)
            reporter.advance(len(batch))
    finally:
        writer.flush()


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
    with replaced(folder / "unscorable.parquet") as part:
        pq.write_table(table, part)


def length_bound(plan: Plan, model: str) -> int:
    return min(plan.max_length, models.context_length(model) or plan.max_length)


def _summarize(folder: Path, reporter: Reporter) -> None:
    reporter.stage("select", 1, "coreset")
    write_json(folder / "summary.json", summarize(open_results(folder)))
    reporter.advance(1)


def summarize(results: Results) -> dict[str, Any]:
    """The figures of a run whose scores are there: counts, and what verifying everything would cost.

    The estimate is the target's measured seconds for each token, times the tokens of
    all scorable samples.
    """
    selection = results.select()
    strata = selection.strata
    verification, scores = results.verification, results.scores
    tokens_verified = float((verification["prompt_tokens"] + verification["response_tokens"]).sum())
    tokens_all = float((scores["prompt_tokens"] + scores["response_tokens"]).sum())
    seconds = float(verification["seconds"].sum())
    return {
        "rows": results.num_rows,
        "samples": int(np.isfinite(results.speculative).sum()),
        "unscorable": len(results.unscorable),
        "strata": len(strata),
        "strata_served": int((strata["budget"] > 0).sum()),
        "tuned": len(results.tuned_ids),
        "verified": len(results.verified_ids),
        "to_verify": len(results.to_verify()),
        "coreset_size": len(selection.indices),
        "verify_seconds_per_sample": seconds / max(len(verification), 1),
        "full_target_seconds_estimate": seconds / tokens_verified * tokens_all if tokens_verified else None,
        "warnings": [*_too_few_to_tune(results.plan, len(results.tuned_ids)), *selection.warnings],
        "trust": _trust(results),
    }


def _trust(results: Results) -> dict[str, Any]:
    plan = results.plan
    agreement = rank_agreement(results.speculative[results.verified_ids], results.verified_scores)
    trust = judge_trust(agreement, epochs=plan.epochs, scored_parameters=plan.scored_parameters)
    numbers = {name: getattr(agreement, name) for name in ("spearman", "low", "high")}
    return {
        **asdict(trust),
        "samples": agreement.samples,
        **{name: value if np.isfinite(value) else None for name, value in numbers.items()},
    }
