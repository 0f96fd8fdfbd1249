"""The number format for `--dtype auto`: bfloat16 only if it is measurably faster and ranks the same."""

from __future__ import annotations

import gc
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from staff_engine.errors import RunError
from staff_engine.models import adapters, devices, loading
from staff_engine.plan import Plan
from staff_engine.scoring.scorer import Scorer, plan_batches
from staff_engine.system.background import key_of
from staff_engine.system.files import private_folder, read_model, write_checked
from staff_engine.system.home import home
from staff_engine.system.hosts import name_of, this_host

if TYPE_CHECKING:
    from staff_engine.data.tokens import TokenTable

log = logging.getLogger(__name__)

FILE = "dtype.json"

ROWS, FEWEST = 64, 50
"""Maximum and minimum number of samples to score in both formats. Fewer give no reliable ranks."""

FIRST_ROWS = 1000
"""The samples are from the first rows. A forecast reads the same rows, so both choose the same format."""

MOST_TOKENS = 4096
"""Maximum total tokens of the samples. Shorter samples are used if the total would be larger."""

ALIKE = 0.999
"""Minimum Spearman correlation of the efforts in both formats."""

FASTER = 1.3
"""Minimum speed-up of bfloat16. Smaller ones can be noise on a busy machine."""

REPEATS = 3
"""Number of times that each batch is timed. The shortest time counts: other load only makes times longer."""

ROOM = "number-formats"
"""The folder of the home with the choices so far."""


class Precision(BaseModel):
    """The content of dtype.json: the number format of a run's models, and the reason for it; frozen."""

    model_config = ConfigDict(frozen=True)

    dtype: Literal["float32", "bfloat16"]
    samples: int = 0  # scored in both formats; 0 if nothing was measured
    speedup: float | None = None  # seconds in float32 / seconds in bfloat16
    spearman: float | None = None  # of their efforts
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _of_older_runs(cls, content: Any) -> Any:
        """Older runs stored only the name."""
        return (
            {"dtype": content, "reason": "the format of the run so far"}
            if isinstance(content, str)
            else content
        )

    @property
    def sentence(self) -> str:
        """The choice and its reason, for display."""
        return f"The models use {self.dtype}: {self.reason}."


def settle(plan: Plan, folder: Path, name: str, tokens: TokenTable) -> Plan:
    """Replace `auto` in the plan by a number format. It is chosen once per run and stored in its folder.

    Parameters
    ----------
    name, tokens
        The small model, and the tokens of the run's samples for it.
    """
    if plan.dtype != "auto":
        return plan
    known = read_precision(folder)
    if known is None:
        known = choose_precision(plan, name, tokens)
        write_checked(folder / FILE, known.model_dump())
        log.info(known.sentence)
    return plan.but(dtype=known.dtype)


def read_precision(folder: Path) -> Precision | None:
    """The choice for a run; None if there is none yet. Raises RunError if it cannot be read."""
    return read_model(folder / FILE, Precision) if (folder / FILE).exists() else None


def choose_precision(
    plan: Plan, name: str, tokens: TokenTable, *, clock: Callable[[], float] = time.perf_counter
) -> Precision:
    """Score a few short samples in float32 and bfloat16 with the small model before fine-tuning; compare.

    This takes a few seconds. The choice is kept in the home, because a second measurement could give another
    one: so the same run again, and its forecast, use the same format. It is float32 without a measurement if
    the device does not compute in bfloat16 natively, or if there are fewer than 50 samples in the first 1,000
    rows.
    """
    device = devices.choose_device(plan.device)
    if not devices.has_bfloat16(device):
        return Precision(dtype="float32", reason=f"{device} does not compute in bfloat16 natively")
    chosen = _short(tokens)
    if len(chosen) < FEWEST:
        few = f"{len(chosen)} samples are too few to test whether bfloat16 ranks samples the same"
        return Precision(dtype="float32", reason=few)
    path = home() / ROOM / f"{_key(plan, name, device, tokens, chosen)}.json"
    if path.exists():
        try:
            return read_model(path, Precision)
        except RunError as error:
            log.warning("%s; the number format is chosen again", error)
    seconds, efforts = _measure(plan, name, tokens, chosen, clock)
    made = _decide(len(chosen), seconds[0] / seconds[1], _spearman(*efforts))
    write_checked(private_folder(path.parent) / path.name, made.model_dump())
    return made


def _key(plan: Plan, name: str, device: str, tokens: TokenTable, chosen: np.ndarray) -> str:
    """The key of a choice: the machine, the model, the settings of the measurement, and the samples.

    Not the number of threads, which is another one if several processes do the same run.
    """
    import torch

    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else ""
    samples = hashlib.sha256()
    for index in chosen:
        sample = tokens[index]
        samples.update(np.asarray(sample.input_ids, np.int64).tobytes())
        samples.update(np.packbits(np.asarray(sample.response_mask, np.bool_)).tobytes())
    machine = (name_of(this_host()), device, gpu, torch.__version__)
    adapter = (plan.lora_rank, plan.lora_alpha, plan.lora_names, plan.scored_parameters)
    return key_of([machine, name, adapter, plan.tokens_per_batch, samples.hexdigest()])


def _decide(samples: int, speedup: float, spearman: float) -> Precision:
    worth_it = speedup >= FASTER and spearman >= ALIKE  # NaN is not
    return Precision(
        dtype="bfloat16" if worth_it else "float32",
        samples=samples,
        speedup=round(speedup, 3),
        spearman=round(spearman, 5) if np.isfinite(spearman) else None,
        reason=f"on {samples} samples, bfloat16 was {speedup:.2f} times as fast as float32, and the Spearman"
        f" correlation of the efforts was {spearman:.4f}; bfloat16 requires {FASTER} and {ALIKE}",
    )


def _short(tokens: TokenTable) -> np.ndarray:
    """Indices of the samples for the measurement: spread over all lengths within `MOST_TOKENS`."""
    indices = np.flatnonzero(tokens.row_ids < FIRST_ROWS)
    order = indices[np.argsort(tokens.lengths[indices], kind="stable")]
    count = min(ROWS, len(order))
    for last in range(len(order), count, -1):
        chosen = order[np.linspace(0, last - 1, count).round().astype(int)]
        if tokens.lengths[chosen].sum() <= MOST_TOKENS:
            return chosen
    return order[:count]


def _measure(
    plan: Plan, name: str, tokens: TokenTable, chosen: np.ndarray, clock: Callable[[], float]
) -> tuple[list[float], list[np.ndarray]]:
    """Seconds and efforts in both formats, which alternate, so that other load affects both equally."""
    scorers = [_scorer(plan, name, dtype) for dtype in ("float32", "bfloat16")]
    batches = plan_batches(tokens.lengths[chosen], tokens=min(plan.tokens_per_batch, MOST_TOKENS // 4))
    for scorer in scorers:
        scorer.score([tokens[index] for index in chosen[batches[-1]]])  # warm-up
    seconds = [0.0, 0.0]
    efforts = [np.empty(len(chosen)), np.empty(len(chosen))]
    for batch in batches:
        samples = [tokens[index] for index in chosen[batch]]
        times: tuple[list[float], list[float]] = [], []
        for _ in range(REPEATS):
            for turn, scorer in enumerate(scorers):
                begun = clock()
                efforts[turn][batch] = scorer.score(samples).effort
                times[turn].append(clock() - begun)
        seconds = [total + min(new) for total, new in zip(seconds, times, strict=True)]
    del scorers, scorer
    gc.collect()  # PEFT's models have reference cycles
    return seconds, efforts


def _scorer(plan: Plan, name: str, dtype: str) -> Scorer:
    model = loading.load_model(name, device=plan.device, dtype=dtype)
    adapted = adapters.add_lora(
        model, rank=plan.lora_rank, alpha=plan.lora_alpha, seed=plan.seed, targets=plan.lora_names
    )
    adapted.requires_grad_(False)
    return Scorer(adapted, adapters.scored_layers(adapted, plan.scored_parameters), pad_token_id=0)


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation; NaN if a value is not finite or all values are equal."""
    from scipy.stats import rankdata

    if not (np.isfinite(one).all() and np.isfinite(other).all()) or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
