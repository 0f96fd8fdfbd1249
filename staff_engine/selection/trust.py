"""How reliable the small model is for the target on this data, from the samples that both scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.agreement import Agreement
from staff_engine.system.words import counted

HIGH, HIGH_AT_LEAST = 0.7, 0.5
"""High: a rank correlation of at least the first, with an interval that begins at the second or above."""
FAIR = 0.4
"""Fair: a rank correlation of at least this; below it, or without one, trust is low."""

_OTHER = {"all": "last_block", "last_block": "all"}
"""What else could be scored."""


@dataclass(frozen=True)
class Trust:
    """One word, what the agreement says, and at low trust what to do about it."""

    word: Literal["high", "fair", "low"]
    sentence: str
    advice: tuple[str, ...]


def judge_trust(
    agreement: Agreement, *, epochs: int, scored_parameters: str, target_tuned: bool = False
) -> Trust:
    """Judge how reliable the small model's scores are as a stand-in for the target's.

    Parameters
    ----------
    agreement
        Of the verified samples' scores, speculative and verified.
    epochs, scored_parameters
        As the plan has them, for the advice.
    target_tuned
        Whether the target was fine-tuned before it scored.

    Raises
    ------
    PlanError
        If the scored parameters are unknown.

    Notes
    -----
    The word rests on the correlation with response length held, where lengths are known: that both
    models give short responses a high effort does not make one a stand-in for the other. The paper
    has no such judgement; it assumes that models of one family agree. The verified samples are
    drawn evenly over the strata and without the hardest dropped, so hard ones count for more than
    in the data.
    """
    value, low, _ = agreement.judged
    if not np.isfinite(value):
        return Trust("low", agreement.sentence, ("Verify more samples in each stratum.",))
    sentence = f"{agreement.sentence} {agreement.figures}"
    if value >= HIGH and low >= HIGH_AT_LEAST:
        return Trust("high", sentence, ())
    if value >= FAIR:
        return Trust("fair", sentence, ())
    if scored_parameters not in _OTHER:
        raise PlanError(f"scored_parameters is {scored_parameters!r}; allowed: {', '.join(_OTHER)}")
    advice = (
        "Use another small model of the target's family, closer to it in size.",
        f"Fine-tune the small model for more than {counted(epochs, 'epoch')}.",
        f"Score other parameters: {_OTHER[scored_parameters]} instead of {scored_parameters}.",
        *(() if target_tuned else ("Tune the target on a few samples before it verifies (tune_target).",)),
        "Verify nothing (0 in each stratum): every stratum then gets an equal budget.",
    )
    return Trust("low", sentence, advice)
