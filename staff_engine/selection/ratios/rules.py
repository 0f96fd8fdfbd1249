"""The rules that compute ratios, which determine the budget, from verified samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.ratios.calibration import calibrate
from staff_engine.selection.strata import Strata, check_scores
from staff_engine.selection.verification import Ratios, verification_ratios

NOT_VERIFIED = 10
"""The released code does not verify strata with at most this number of samples."""

EQUAL = "equal"
"""The rule that reads no target scores."""

_Rule = Callable[
    [Strata, np.ndarray, Sequence[int] | np.ndarray, Sequence[float] | np.ndarray], tuple[Ratios, Ratios]
]


def samples_to_verify(rule: str, per_stratum: int) -> int:
    """b_v for a rule: 0 if the rule reads no target scores. Raises PlanError if it is unknown."""
    return 0 if check_ratio(rule) == EQUAL else per_stratum


def check_ratio(rule: str) -> str:
    """Return the name of the rule. Raises PlanError if it is unknown."""
    if rule not in RATIOS:
        raise PlanError(f"ratio is {rule!r}; allowed: {', '.join(RATIOS)}")
    return rule


def ratios_by(
    rule: str,
    strata: Strata,
    speculative: np.ndarray,
    verified_ids: Sequence[int] | np.ndarray,
    verified_scores: Sequence[float] | np.ndarray,
) -> tuple[Ratios, Ratios]:
    """Return the ratios of a rule and those of the paper, for the same verified samples.

    Parameters
    ----------
    rule : {"paper", "calibrated", "released", "equal"}
        "paper": V_i = ΣS^t / ΣS^s. "calibrated": ΣS^t over the sum predicted from the small model's
        scores, shrunk towards 1; see `ratios.calibration.calibrate`. "released": as "paper", for scores
        scaled to 0 to 1 (by the minimum and maximum of all speculative and of the verified scores). A
        stratum with at most `NOT_VERIFIED` samples has no ratio (NaN), so `allocation.allocate` gives it
        an equal share. "equal": every ratio is 1, whatever is verified.
    strata, speculative, verified_ids, verified_scores
        As in `verification.verification_ratios`.

    Raises
    ------
    PlanError
        If the rule is unknown.
    ValueError
        As in `verification.verification_ratios`.
    """
    return _RULES[check_ratio(rule)](strata, speculative, verified_ids, verified_scores)


def _paper(strata: Strata, speculative: np.ndarray, ids: object, scores: object) -> tuple[Ratios, Ratios]:
    ratios = verification_ratios(strata, speculative, ids, scores)  # type: ignore[arg-type]
    return ratios, ratios


def _calibrated(
    strata: Strata, speculative: np.ndarray, ids: object, scores: object
) -> tuple[Ratios, Ratios]:
    paper, _ = _paper(strata, speculative, ids, scores)
    return calibrate(paper), paper


def _released(strata: Strata, speculative: np.ndarray, ids: object, scores: object) -> tuple[Ratios, Ratios]:
    paper, _ = _paper(strata, speculative, ids, scores)
    target = _from_0_to_1(check_scores(np.asarray(scores), "verified_scores"))
    scaled = verification_ratios(strata, _from_0_to_1(speculative), ids, target)  # type: ignore[arg-type]
    small = strata.sizes <= NOT_VERIFIED
    return replace(scaled, values=np.where(small, np.nan, scaled.values)), paper


def _equal(strata: Strata, speculative: np.ndarray, ids: object, scores: object) -> tuple[Ratios, Ratios]:
    paper, _ = _paper(strata, speculative, ids, scores)
    nothing = np.zeros(len(paper.strata))  # no quotient, so there are no intervals
    return replace(paper, values=np.ones(len(paper.values)), speculative=nothing), paper


def _from_0_to_1(scores: np.ndarray) -> np.ndarray:
    """Scores minus their minimum, divided by their range; zeros if all are equal."""
    finite = scores[np.isfinite(scores)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    return (scores - low) / ((high - low) or 1.0)


_RULES: dict[str, _Rule] = {
    "paper": _paper, "calibrated": _calibrated, "released": _released, EQUAL: _equal,
}  # fmt: skip
RATIOS = tuple(_RULES)
