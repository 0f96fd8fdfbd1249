"""Whether the small model may speak for the target on this data, from the samples that both scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from staff_engine.selection.agreement import Agreement
from staff_engine.system.words import counted

HIGH, HIGH_AT_LEAST = 0.7, 0.5
"""High trust: a rank correlation from the first on, its interval's lower end from the second on."""
FAIR = 0.4
"""Fair trust: a rank correlation from here on; below it, or without one, trust is low."""


@dataclass(frozen=True)
class Trust:
    """One word, what the agreement says, and at low trust what to do about it."""

    word: Literal["high", "fair", "low"]
    sentence: str
    advice: tuple[str, ...]


def judge_trust(
    agreement: Agreement, *, epochs: int, scored_parameters: str, target_tuned: bool = False
) -> Trust:
    """Say whether the small model's scores may stand for the target's.

    Parameters
    ----------
    agreement
        Of the verified samples' scores, speculative and verified.
    epochs, scored_parameters
        As the plan has them, for the advice.
    target_tuned
        Whether the target was fine-tuned before it scored.

    Notes
    -----
    The paper has no such judgement, it takes models of one family to agree. The verified
    samples are drawn evenly over the strata and without the hardest dropped, so hard ones
    count for more than in the data.
    """
    sentence = agreement.sentence
    if not np.isfinite(agreement.spearman):
        return Trust("low", sentence, ("Verify more samples in each stratum.",))
    sentence += (
        f" Rank correlation {agreement.spearman:.2f} (95 % interval {agreement.low:.2f} to"
        f" {agreement.high:.2f}) over {agreement.samples:,} samples that both have scored."
    )
    if agreement.spearman >= HIGH and agreement.low >= HIGH_AT_LEAST:
        return Trust("high", sentence, ())
    if agreement.spearman >= FAIR:
        return Trust("fair", sentence, ())
    other = "last_block" if scored_parameters == "all" else "all"
    advice = (
        "Take another small model of the target's family, nearer to it in size.",
        f"Fine-tune the small model for more than {counted(epochs, 'epoch')}.",
        f"Score other parameters: {other} instead of {scored_parameters}.",
        *(() if target_tuned else ("Tune the target on a few samples before it verifies (tune_target).",)),
        "Verify nothing (0 in each stratum): every stratum then has an equal budget.",
    )
    return Trust("low", sentence, advice)
