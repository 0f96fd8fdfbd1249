"""The results of an evaluation, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.evaluation.power import POWER, WANTED, Power
from staff_engine.selection.methods import METHODS
from staff_engine.system.words import counted, duration, percent

if TYPE_CHECKING:
    from staff_engine.evaluation.report import Mean, Row


def sentences_of(rows: Sequence[Row], metric: str | None, seed_seconds: float | None = None) -> list[str]:
    """Compare STAFF's coresets with random in sentences, rate by rate.

    Parameters
    ----------
    rows
        Rows of a report: all, or those of one rate and budget.
    metric
        The metric of the report.
    seed_seconds
        Seconds that one more seed takes.
    """
    sentences = []
    powers: set[tuple[float, str | None]] = set()  # places whose power is stated: once is enough
    both = len({row.budget for row in rows} - {None}) > 1
    for row in rows:
        if row.pruning_rate is None or (row.arm in METHODS and not METHODS[row.arm].of_run):
            continue
        where = f"At {percent(row.pruning_rate)} removed"
        where += f", equal {row.budget}" if both else ""
        if row.loss_to_random is not None:
            found = f"{where}: {_sentence(row.label, 'held-out loss', row.loss_to_random, better=-1)}"
            shown: list[str] = []
            if row.power is not None and (row.pruning_rate, row.budget) not in powers:
                powers.add((row.pruning_rate, row.budget))
                shown = power_sentences(row.power, row.loss_to_random.seeds, seed_seconds)
            sentences.append(" ".join([found, *shown]))
        if row.metric_to_random is not None and metric:
            sentences.append(f"{where}: {_sentence(row.label, metric, row.metric_to_random, better=1)}")
    return sentences


def power_sentences(power: Power, seeds: int, seed_seconds: float | None) -> list[str]:
    """The smallest difference that a comparison could have shown, and how to show a smaller one."""
    could = (
        f"With {counted(seeds, 'seed')} and {counted(power.held_out, 'held-out sample')}, a true difference"
        f" of {power.detectable:.2g} nats is shown in {POWER:.0%} of evaluations."
    )
    match power.more_seeds:
        case 0:
            return [could]
        case None:
            return [could, f"More seeds alone cannot show {WANTED:g} nats: add held-out samples too."]
        case count:
            time = "" if seed_seconds is None else f" (about {duration(count * seed_seconds)})"
            return [could, f"Add {counted(count, 'seed')}{time} to show {WANTED:g} nats."]


def _sentence(label: str, what: str, difference: Mean, *, better: int) -> str:
    if not np.isfinite(difference.value):
        return (
            f"{label} cannot be compared with random by {what}: a fine-tuning diverged (its result is not"
            " a number)."
        )
    if difference.seeds < 2:
        return (
            f"the {what} of {label} differs from that of random by {difference.value:+.3g}. One seed cannot"
            " show how much of this is chance."
        )
    interval = f"{difference.low:+.3g} to {difference.high:+.3g} ({difference.seeds} seeds)"
    if not difference.tells:
        return (
            f"{label} shows no significant difference from random in {what}: the difference is"
            f" {difference.value:+.3g}, and its 95 % interval, {interval}, includes 0."
        )
    word = "better" if difference.value * better > 0 else "worse"
    return (
        f"{label} is {word} than random by {what}: the difference is {difference.value:+.3g}, 95 % interval"
        f" {interval}."
    )
