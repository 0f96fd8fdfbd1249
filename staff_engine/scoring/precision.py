"""Which number format `--dtype auto` means: bfloat16 only where, measured, it is faster and ranks alike."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from staff_engine.models import adapters, devices, loading
from staff_engine.plan import Plan
from staff_engine.scoring.scorer import Scorer, plan_batches
from staff_engine.system.files import read_model, write_json

if TYPE_CHECKING:
    from staff_engine.data.tokens import TokenTable

log = logging.getLogger(__name__)

FILE = "dtype.json"

ROWS, FEWEST = 64, 50
"""Samples that are scored in both formats; with fewer, their ranks would say too little."""

FIRST_ROWS = 1000
"""They are taken from the first rows, which a forecast reads too, so that both decide by the same."""

MOST_TOKENS = 4096
"""Tokens of those samples, all together: shorter ones are taken where it would be more."""

ALIKE = 0.999
"""Least Spearman correlation of the efforts in both formats."""

FASTER = 1.3
"""Times as fast, at least: less is within what a busy machine makes of a few seconds."""


class Precision(BaseModel):
    """The content of dtype.json: the number format of a run's models, and what it was decided by; frozen."""

    model_config = ConfigDict(frozen=True)

    dtype: Literal["float32", "bfloat16"]
    samples: int = 0  # scored in both formats; 0 where nothing had to be measured
    speedup: float | None = None  # seconds in float32 / seconds in bfloat16
    spearman: float | None = None  # of their efforts
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _of_older_runs(cls, content: Any) -> Any:
        """They kept the name alone."""
        return {"dtype": content, "reason": "as it began"} if isinstance(content, str) else content

    @property
    def sentence(self) -> str:
        """For people."""
        return f"The models work in {self.dtype}: {self.reason}."


def settle(plan: Plan, folder: Path, name: str, tokens: TokenTable) -> Plan:
    """The plan with the number format that `auto` means in this run, decided once and kept in its folder.

    Parameters
    ----------
    name, tokens
        The small model and the run's samples as it reads them.
    """
    if plan.dtype != "auto":
        return plan
    known = read_precision(folder)
    if known is None:
        known = choose_precision(plan, name, tokens)
        write_json(folder / FILE, known.model_dump())
        log.info(known.sentence)
    return plan.but(dtype=known.dtype)


def read_precision(folder: Path) -> Precision | None:
    """What was decided in a run, None if nothing was (yet). Raises RunError if it cannot be read."""
    return read_model(folder / FILE, Precision) if (folder / FILE).exists() else None


def choose_precision(
    plan: Plan, name: str, tokens: TokenTable, *, clock: Callable[[], float] = time.perf_counter
) -> Precision:
    """Score a few short samples in float32 and in bfloat16 with the untouched small model, and compare.

    A few seconds; none where the device does not compute in bfloat16 itself, or there are
    fewer than 50 samples among the first 1,000 rows: then it is float32.
    """
    device = devices.choose_device(plan.device)
    if not devices.has_bfloat16(device):
        return Precision(dtype="float32", reason=f"{device} does not compute in bfloat16 itself")
    places = _short(tokens)
    if len(places) < FEWEST:
        few = f"{len(places)} samples are too few to measure whether bfloat16 ranks alike"
        return Precision(dtype="float32", reason=few)
    seconds, efforts = _measure(plan, name, tokens, places, clock)
    return _decide(len(places), seconds[0] / seconds[1], _spearman(*efforts))


def _decide(samples: int, speedup: float, spearman: float) -> Precision:
    worth_it = speedup >= FASTER and spearman >= ALIKE  # NaN is not
    return Precision(
        dtype="bfloat16" if worth_it else "float32",
        samples=samples,
        speedup=round(speedup, 3),
        spearman=round(spearman, 5) if np.isfinite(spearman) else None,
        reason=f"on {samples} samples bfloat16 was {speedup:.2f} times as fast as float32, and their orders"
        f" had a Spearman correlation of {spearman:.4f}; {FASTER} and {ALIKE} are asked for",
    )


def _short(tokens: TokenTable) -> np.ndarray:
    """Places of the samples to measure with: spread over all lengths as far as `MOST_TOKENS` allows."""
    places = np.flatnonzero(tokens.row_ids < FIRST_ROWS)
    order = places[np.argsort(tokens.lengths[places], kind="stable")]
    count = min(ROWS, len(order))
    for last in range(len(order), count, -1):
        chosen = order[np.linspace(0, last - 1, count).round().astype(int)]
        if tokens.lengths[chosen].sum() <= MOST_TOKENS:
            return chosen
    return order[:count]


def _measure(
    plan: Plan, name: str, tokens: TokenTable, places: np.ndarray, clock: Callable[[], float]
) -> tuple[list[float], list[np.ndarray]]:
    """Seconds and efforts in both formats; batches by turns, so that both meet what else the machine does."""
    scorers = [_scorer(plan, name, dtype) for dtype in ("float32", "bfloat16")]
    batches = plan_batches(tokens.lengths[places], tokens=min(plan.tokens_per_batch, MOST_TOKENS // 4))
    for scorer in scorers:
        scorer.score([tokens[place] for place in places[batches[-1]]])  # warms up
    seconds = [0.0, 0.0]
    efforts = [np.empty(len(places)), np.empty(len(places))]
    for batch in batches:
        samples = [tokens[place] for place in places[batch]]
        for turn, scorer in enumerate(scorers):
            begun = clock()
            efforts[turn][batch] = scorer.score(samples).effort
            seconds[turn] += clock() - begun
    del scorers, scorer
    gc.collect()  # PEFT's models hold themselves
    return seconds, efforts


def _scorer(plan: Plan, name: str, dtype: str) -> Scorer:
    model = loading.load_model(name, device=plan.device, dtype=dtype)
    adapted = adapters.add_lora(model, rank=plan.lora_rank, alpha=plan.lora_alpha, seed=plan.seed)
    adapted.requires_grad_(False)
    return Scorer(adapted, adapters.scored_layers(adapted, plan.scored_parameters), pad_token_id=0)


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    """NaN where an effort is not finite, or all are equal."""
    from scipy.stats import rankdata

    if not (np.isfinite(one).all() and np.isfinite(other).all()) or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
