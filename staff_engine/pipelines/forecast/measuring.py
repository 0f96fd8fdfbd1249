"""Measure a few rows and batches of a plan, with the functions of a run."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.data.counting import count_rows
from staff_engine.data.dataset import Imported, import_dataset
from staff_engine.data.locating import check_source
from staff_engine.data.reading import DETECT, Reading
from staff_engine.data.sources import is_on_hub
from staff_engine.data.tokenization import tokenize_dataset
from staff_engine.data.tokens import TokenTable, open_tokens
from staff_engine.errors import DatasetError, PlanError
from staff_engine.models import adapters, devices, loading, sources
from staff_engine.models.finetune import finetune, training_order
from staff_engine.pipelines.adapted import fresh_lora, load_base
from staff_engine.pipelines.checking import LIBRARIES, refuse_too_large
from staff_engine.pipelines.forecast.extrapolation import Measured, Side, Training, fit_speed, shapes
from staff_engine.pipelines.steps import length_bound
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.stages import Stage
from staff_engine.scoring.losses import LossScorer, first_token
from staff_engine.scoring.precision import settle
from staff_engine.scoring.scorer import Scorer, plan_batches
from staff_engine.system.arrow import by_row
from staff_engine.system.memory import peak_memory

if TYPE_CHECKING:
    from peft import PeftModel

ROWS = 1000
"""Maximum rows to read."""

SHARES = {stages.FINE_TUNE: 0.35, stages.SPECULATE: 0.25, stages.TUNE_TARGET: 0.35, stages.VERIFY: 0.4}
"""Relative shares of the time for the batches of each measured stage."""

ALONE = 0.3
"""Time for scoring responses without prompts, as a share of the time for scoring samples."""

MOST_STEPS = 60

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Tokens:
    """The rows that were read, tokenized for one of the models, and the time that this took."""

    model: str
    table: TokenTable
    rows: int
    pad_token_id: int
    start: float  # seconds before the first row
    row: float  # seconds per row


def measure(plan: Plan, *, seconds: float = 20.0, say: Say = lambda text: None) -> Measured:
    """Measure the steps of a run of a plan, on the first rows of its data.

    The steps are those of a run, in the same order and with the same functions. So one-time
    costs, such as importing libraries, are the same as in a run.

    Parameters
    ----------
    seconds
        Total time for measured batches. Reading data and loading models takes additional
        time, and each stage measures at least one batch.
    say
        Receives a short description of the current step.

    Raises
    ------
    StaffError
        If the data, the plan or a model cannot be used; the message gives the reason.
    """
    check_source(plan.dataset, plan.split)
    for name in (plan.small, plan.target):
        sources.find_model(name)
    devices.choose_device(plan.device)
    if plan.shard_target:
        raise PlanError("a forecast runs in one process, which cannot measure a target with shard_target")
    time_for = _divided(seconds, plan)
    say("loading the libraries")
    begun = time.perf_counter()
    for library in LIBRARIES:
        import_module(library)
    loading_libraries = time.perf_counter() - begun
    with tempfile.TemporaryDirectory(prefix="staff-forecast-") as temporary:
        folder = Path(temporary)
        say("reading the first rows")
        imported, import_start, import_row = _import(plan, folder)
        rows = count_rows(plan, read=imported.facts.rows, asked=_asked(plan))
        say("tokenizing the rows")
        small = _tokenize(plan, plan.small, imported, folder / "small.arrow")
        target = _tokenize(plan, plan.target, imported, folder / "target.arrow")
        _refuse_empty(plan, small, target)
        say("choosing the number format")
        by_trial = plan.dtype == "auto"
        begun = time.perf_counter()
        plan = settle(plan, folder, plan.small, small.table)
        for name in (plan.small, plan.target):
            refuse_too_large(plan, name)
        settling = time.perf_counter() - begun
        say("fine-tuning the small model for a few steps")
        adapter = folder / "adapter"
        finetuning = _finetune(plan, small, adapter, time_for[stages.FINE_TUNE])
        say("scoring a few batches on the small model")
        small_side, scored, efforts = _score(plan, small, adapter, time_for[stages.SPECULATE])
        tuning, tuned = None, None
        if plan.tune_target:
            say("fine-tuning the target for a few steps")
            tuned = folder / "target_adapter"
            tuning = _finetune(plan, target, tuned, time_for[stages.TUNE_TARGET])
        say("scoring a few batches on the target")
        target_side, _, _ = _score(plan, target, tuned, time_for[stages.VERIFY])
    return Measured(
        rows=rows,
        small=small_side,
        target=target_side,
        start={
            stages.LIBRARIES.name: loading_libraries,
            stages.IMPORT.name: import_start,
            stages.TOKENIZE.name: small.start,
            **({stages.NUMBER_FORMAT.name: settling} if by_trial else {}),
        },
        import_row=import_row,
        finetuning=finetuning,
        tuning=tuning,
        scored=scored,
        efforts=efforts,
        memory_bytes=peak_memory(),
    )


def _divided(seconds: float, plan: Plan) -> dict[Stage, float]:
    """Seconds for each stage of the plan."""
    asked = [stage for stage in SHARES if plan.tune_target or stage != stages.TUNE_TARGET]
    shares = {stage: SHARES[stage] for stage in asked}
    return {stage: seconds * share / sum(shares.values()) for stage, share in shares.items()}


def _asked(plan: Plan) -> int:
    return min(ROWS, plan.limit or ROWS)


def _import(plan: Plan, folder: Path) -> tuple[Imported, float, float]:
    """Import the first rows; the rows, the seconds before the first one, and the seconds per row."""

    def timed(name: str, source: str, limit: int) -> tuple[Imported, float]:
        begun = time.perf_counter()
        imported = import_dataset(
            source,
            folder / name,
            DETECT if name == "warm" else Reading.of(plan),
            split=plan.split,
            limit=limit,
        )
        return imported, time.perf_counter() - begun

    example = folder / "example.jsonl"
    example.write_text('{"prompt": "a", "completion": "b"}\n', encoding="utf-8")
    _, cold = timed("warm", str(example), 2)
    half = max(2, _asked(plan) // 2)
    if is_on_hub(plan.dataset):
        timed("fetched", plan.dataset, half)  # a run reads it from the local cache
    few, few_seconds = timed("half", plan.dataset, half)
    imported, seconds = timed("all", plan.dataset, _asked(plan))
    more = imported.facts.rows - few.facts.rows
    row = max(seconds - few_seconds, 0.0) / more if more else seconds / imported.facts.rows
    return imported, cold + max(seconds - row * imported.facts.rows, 0.0), row


def _tokenize(plan: Plan, model: str, imported: Imported, path: Path) -> _Tokens:
    begun = time.perf_counter()
    tokenizer = loading.load_tokenizer(model, plan.chat_template)
    bound = length_bound(plan, model)
    rows = imported.rows
    start = time.perf_counter() - begun
    begun = time.perf_counter()
    tokenize_dataset(rows, tokenizer, path, max_length=bound, conversation=imported.facts.conversation)
    row = (time.perf_counter() - begun) / len(rows)
    return _Tokens(model, open_tokens(path), len(rows), int(tokenizer.pad_token_id), start, row)


def _refuse_empty(plan: Plan, small: _Tokens, target: _Tokens) -> None:
    """Raise DatasetError for fewer than 2 samples, as a run does."""
    for tokens in (small, target):
        if len(tokens.table) < 2:
            reason = next(iter(tokens.table.problems.values()), "there are no more rows")
            raise DatasetError(
                f"{plan.dataset} has {len(tokens.table)} scorable samples in its first {tokens.rows:,} rows; "
                f"at least 2 are needed (first: {reason})"
            )


def _finetune(plan: Plan, tokens: _Tokens, adapter: Path, seconds: float) -> Training:
    """Measure the fine-tuning of a model, and write its adapter."""
    begun = time.perf_counter()
    adapted = fresh_lora(plan, tokens.model)
    loading.load_tokenizer(tokens.model)  # as a run does here
    loaded = time.perf_counter()
    table = tokens.table
    size = min(plan.batch_size, len(table))
    steps = _steps(table.lengths, size, plan.seed)
    wanted = np.concatenate(steps)
    even = np.ones(len(wanted), dtype=np.int64)  # equal lengths do not change the batches
    indices = np.empty_like(wanted)
    indices[training_order(even, epochs=1, batch_size=size, seed=plan.seed)] = wanted
    moments: list[float] = []

    def on_step(step: int) -> bool:
        moments.append(time.perf_counter())
        return step < MOST_STEPS and moments[-1] - moments[0] < seconds

    finetune(
        adapted,
        [table[i] for i in indices.tolist()],
        even,
        adapter.with_name(f"{adapter.name}.part"),
        pad_token_id=tokens.pad_token_id,
        epochs=1,
        batch_size=size,
        learning_rate=plan.learning_rate or loading.default_learning_rate(tokens.model),
        seed=plan.seed,
        on_step=on_step,
    )
    ended = time.perf_counter()
    adapters.save_adapter(adapted, adapter)
    batches = shapes(table.lengths, steps[: len(moments)])
    if len(moments) > 1:
        speed = fit_speed(batches[1:], np.diff(moments))
    else:  # a single step took all the time
        speed = fit_speed(batches, [moments[0] - loaded])
    start = moments[0] - begun - speed.seconds(batches[:1])
    return Training(start=max(start, 0.0), step=speed, checkpoint=ended - moments[-1])


def _steps(lengths: np.ndarray, size: int, seed: int) -> list[np.ndarray]:
    """Batches of a run's fine-tuning: the longest, which needs the most memory, then a representative few."""
    order = training_order(lengths, epochs=1, batch_size=size, seed=seed)
    whole = len(order) // size
    batches = list(np.reshape(order[: whole * size], (whole, size)))
    longest = max(batches, key=lambda batch: int(lengths[batch].max()))
    return [longest, *itertools.islice(itertools.cycle(_spread(batches)), MOST_STEPS)]


def _score(
    plan: Plan, tokens: _Tokens, adapter: Path | None, seconds: float
) -> tuple[Side, tuple[int, ...], tuple[float, ...]]:
    """Measure loading and scoring; the measurements, the scored rows and their efforts."""
    begun = time.perf_counter()
    adapted = (
        fresh_lora(plan, tokens.model)
        if adapter is None
        else adapters.load_adapter(load_base(plan, tokens.model), adapter)
    )
    loading.load_tokenizer(tokens.model)  # as a run does here
    load = time.perf_counter() - begun
    adapted.requires_grad_(False)
    layers = adapters.scored_layers(adapted, plan.scored_parameters)
    scorer = Scorer(adapted, layers, pad_token_id=tokens.pad_token_id)
    table = tokens.table
    batches = plan_batches(table.lengths, tokens=plan.tokens_per_batch)
    # The longest first, as in a run: it needs the most memory.
    begun = time.perf_counter()
    scorer.score([table[i] for i in batches[0]])
    times = [time.perf_counter() - begun]
    timed = [batches[0]]
    efforts: list[np.ndarray] = []
    for batch in _spread(batches):
        start = time.perf_counter()
        if start - begun > seconds and efforts:
            break
        efforts.append(scorer.score([table[i] for i in batch]).effort)
        times.append(time.perf_counter() - start)
        timed.append(batch)
    speed = fit_speed(shapes(table.lengths, timed[1:]), times[1:])
    indices = np.concatenate(timed[1:])
    effort = np.concatenate(efforts)
    finite = np.isfinite(effort)
    side = Side(
        load=load,
        scoring=speed,
        tokenize_row=tokens.row,
        lengths=_by_row(tokens, table.lengths),
        **(_score_alone(plan, tokens, adapted, seconds * ALONE) if plan.scores_alone else {}),
    )
    return side, tuple(table.row_ids[indices[finite]].tolist()), tuple(effort[finite].tolist())


def _score_alone(plan: Plan, tokens: _Tokens, model: PeftModel, seconds: float) -> dict[str, Any]:
    """Measure the scoring of responses without prompts: fields of a `Side`."""
    table = tokens.table
    lengths = table.response_tokens + 1
    batches = plan_batches(lengths, tokens=plan.tokens_per_batch)
    scorer = LossScorer(
        model, first=first_token(loading.load_tokenizer(tokens.model)), pad_token_id=tokens.pad_token_id
    )
    scorer.score([table[i] for i in batches[0]])  # warm-up
    times: list[float] = []
    begun = time.perf_counter()
    for batch in _spread(batches):
        start = time.perf_counter()
        if start - begun > seconds and times:
            break
        scorer.score([table[i] for i in batch])
        times.append(time.perf_counter() - start)
    speed = fit_speed(shapes(lengths, _spread(batches)[: len(times)]), times)
    return {"alone": speed, "responses": _by_row(tokens, lengths)}


def _spread(batches: list[np.ndarray]) -> list[np.ndarray]:
    """Batches in an order whose first n represent all, for every n: steps of the golden section."""
    fractions = np.arange(1, len(batches) + 1) * (5**0.5 - 1) / 2 % 1
    return [batches[i] for i in fractions.argsort().argsort().tolist()]


def _by_row(tokens: _Tokens, values: np.ndarray) -> tuple[int, ...]:
    """Values of the scorable samples by row, 0 for other rows."""
    return tuple(by_row(tokens.rows, tokens.table.row_ids, values, missing=0).tolist())
