"""What samples are ranked by: scores made from what a model measured of each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from staff_engine.errors import PlanError


@dataclass(frozen=True)
class Score:
    """A score of every sample, 0 or more; higher is harder."""

    name: str
    label: str
    """What people call it."""
    sentence: str
    reads: tuple[str, ...]
    """The measured columns that it is made of: effort, loss, response_tokens."""
    make: Callable[..., np.ndarray]
    """From these columns, float64 (N,) each, to the score, float64 (N,); NaN stays NaN."""


SCORES = {
    score.name: score
    for score in (
        Score(
            "effort",
            "Effort",
            "The gradient norm of the mean loss over the response's tokens (the paper). It falls as responses"
            " get longer.",
            ("effort",),
            lambda effort: effort,
        ),
        Score(
            "length-adjusted",
            "Length-adjusted effort",
            "Effort times the square root of the response's tokens: it hardly depends on the length.",
            ("effort", "response_tokens"),
            lambda effort, response_tokens: effort * np.sqrt(response_tokens),
        ),
        Score(
            "loss",
            "Loss",
            "The mean loss over the response's tokens, in nats.",
            ("loss",),
            lambda loss: loss,
        ),
    )
}


def score_named(name: str) -> Score:
    """The score of a name. Raises PlanError if there is none."""
    if name not in SCORES:
        raise PlanError(f"score is {name!r}; allowed: {', '.join(SCORES)}")
    return SCORES[name]


def make_score(name: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """A score of every sample from measured columns, float64 (N,).

    Effort is the norm of the gradient of a mean over n tokens. Where the tokens' gradients point in
    unrelated directions, the norm of their mean shrinks like 1/√n; the length-adjusted effort takes
    that out.

    Raises
    ------
    PlanError
        If there is no score of that name.
    """
    score = score_named(name)
    return score.make(*(columns[each] for each in score.reads))
