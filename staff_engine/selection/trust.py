"""How reliable the small model is for the target on this data, based on the samples that both scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.agreement import Agreement
from staff_engine.system.words import counted

HIGH, HIGH_AT_LEAST = 0.7, 0.5
"""High: the rank correlation is at least the first, and the lower end of its interval at least the second."""
FAIR = 0.4
"""Fair: a rank correlation of at least this. Lower or undefined correlations give low."""

_OTHER = {"all": "last_block", "last_block": "all"}
"""The other choice of scored parameters."""


@dataclass(frozen=True)
class Trust:
    """The rating in one word, the agreement in a sentence, and advice if the rating is low."""

    word: Literal["high", "fair", "low"]
    sentence: str
    advice: tuple[str, ...]


def judge_trust(
    agreement: Agreement, *, epochs: int, scored_parameters: str, target_tuned: bool = False
) -> Trust:
    """Rate how reliable the small model's scores are as a substitute for the target's.

    Parameters
    ----------
    agreement
        Agreement of the speculative and the verification scores of the verified samples.
    epochs, scored_parameters
        As in the plan; used in the advice.
    target_tuned
        Whether the target was fine-tuned before it scored.

    Raises
    ------
    PlanError
        If the scored parameters are unknown.

    Notes
    -----
    The rating is based on the correlation with response length held constant, if lengths are known:
    two models that both give short responses a high effort do not agree on anything else. The paper
    has no such rating and assumes that models of one family agree. The verified samples are
    drawn evenly over the strata, without the hardest dropped, so hard samples are a larger part of
    them than of the data.
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
