"""The scores that rank samples, computed from what a model measured for each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from staff_engine.brought_scores import OWN
from staff_engine.errors import PlanError


@dataclass(frozen=True)
class Score:
    """A score for every sample, 0 or more; higher is harder."""

    name: str
    label: str
    """Name for display."""
    sentence: str
    reads: tuple[str, ...]
    """The measured columns that it uses: effort, loss, response_tokens, loss_without_prompt."""
    make: Callable[..., np.ndarray]
    """Computes the score, float64 (N,), from these columns, float64 (N,) each. NaN stays NaN."""
    on_target: str = ""
    """The score of the target that verifies it; the same score if empty."""


def _ifd(loss: np.ndarray, loss_without_prompt: np.ndarray) -> np.ndarray:
    """Superfiltering (Li et al., ACL 2024): ppl(A|Q) / ppl(A) of response A and prompt Q, 0 or more.

    Both perplexities are exponentials of a mean loss over the same response tokens. Cherry LLM
    (Li et al., NAACL 2024) divides the losses themselves. A quotient that overflows is infinite,
    so the sample has no score.
    """
    with np.errstate(over="ignore"):
        return np.exp(loss - loss_without_prompt)


SCORES = {
    score.name: score
    for score in (
        Score(
            "effort",
            "Effort",
            "The gradient norm of the mean loss over the response tokens (the paper). It falls as responses"
            " get longer.",
            ("effort",),
            lambda effort: effort,
        ),
        Score(
            "length-adjusted",
            "Length-adjusted effort",
            "Effort times the square root of the number of response tokens. It hardly depends on the length.",
            ("effort", "response_tokens"),
            lambda effort, response_tokens: effort * np.sqrt(response_tokens),
        ),
        Score(
            "loss",
            "Loss",
            "The mean loss over the response tokens, in nats.",
            ("loss",),
            lambda loss: loss,
        ),
        Score(
            "ifd",
            "IFD",
            "Instruction-following difficulty: the perplexity of the response with its prompt, divided by the"
            " perplexity without it. Near 1 or above, the prompt hardly helps.",
            ("loss", "loss_without_prompt"),
            _ifd,
        ),
    )
}


def score_named(name: str) -> Score:
    """The score with this name, one of `SCORES` or own:NAME. Raises PlanError if the name is unknown."""
    if name.startswith(OWN):
        return Score(
            name, name.removeprefix(OWN), "A score from a file.", (name,), lambda own: own, on_target="effort"
        )
    if name not in SCORES:
        raise PlanError(f"score is {name!r}; allowed: {', '.join(SCORES)}, or own:NAME")
    return SCORES[name]


def make_score(name: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute a score for every sample from measured columns, float64 (N,).

    Effort is the norm of the gradient of a mean over n tokens. If the gradients of the tokens point in
    unrelated directions, the norm of their mean shrinks like 1/√n. The length-adjusted effort corrects
    for this.

    Raises
    ------
    PlanError
        If the name is unknown.
    """
    score = score_named(name)
    return score.make(*(columns[each] for each in score.reads))
