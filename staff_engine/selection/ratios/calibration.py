"""Verification ratios relative to the scores that the small model predicts, shrunk by their uncertainty.

The paper's ratio divides the target's scores by the small model's. Two models never agree perfectly,
so this quotient is high where the small model's score is low. This is regression to the mean and does
not depend on the stratum. A calibrated ratio divides by the target score that is predicted from the
small model's. It is 1 if the target's scores are as expected, so only deviations change the budget.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from staff_engine.selection.verification import NOTHING, Ratios, ratio_of_sums

FEWEST_FITTED = 10
"""With fewer verified samples whose scores are above 0, there is no prediction and every ratio is 1."""

FEWEST_STRATA = 5
"""With fewer strata, the share means little."""


def calibrate(ratios: Ratios) -> Ratios:
    """Return the ratios ΣS^t / Σ(predicted S^t), shrunk towards 1 by their own uncertainty.

    Parameters
    ----------
    ratios : Ratios
        The paper's ratios, with their verified samples.

    Returns
    -------
    Ratios
        `speculative` contains the predictions, in units of the sum of the target's scores. `values`
        are shrunk, so they are closer to 1 than the quotients of the sums. With fewer than
        `FEWEST_FITTED` samples to fit, every value is 1 and there are no intervals.

    Notes
    -----
    The prediction is the least-squares line ln S^t = a + b·ln S^s over the verified samples; a is
    chosen so that the sum of the predicted scores equals the sum of the target's. A score of 0 on the
    small model counts as the lowest score above 0. Shrinkage is empirical Bayes on ln V_i: with v_i its
    variance (`log_variances`) and τ² the variance of the true ln V_i around 0 (the method of moments of
    DerSimonian and Laird, Controlled Clinical Trials 1986, with the mean fixed at 0), ln V_i is
    multiplied by τ²/(τ² + v_i). The paper has neither.
    """
    predicted = _predict(ratios.speculative, ratios.verification)
    count = len(ratios.values)
    if predicted is None:
        return replace(ratios, values=np.ones(count), speculative=np.zeros(len(ratios.strata)))
    sums = (np.bincount(ratios.strata, scores, count) for scores in (ratios.verification, predicted))
    raw = replace(ratios, values=ratio_of_sums(*sums), speculative=predicted)
    return replace(raw, values=_shrunken(raw))


def follows_score(ratios: Ratios) -> float:
    """Share of the variance of ln V_i that -ln(mean S^s) of the strata explains, 0 to 1.

    Near 1, V_i falls with the score and the ratio is almost 1/S: the target's scores hardly depend on
    the small model's, and the easiest strata get most of the budget. 0 if V_i rises with the score, or
    if fewer than `FEWEST_STRATA` strata have a ratio above 0.
    """
    count = len(ratios.values)
    small = np.bincount(ratios.strata, ratios.speculative, count)
    known = (ratios.verified > 0) & (ratios.values > 0) & (small > NOTHING)
    if known.sum() < FEWEST_STRATA:
        return 0.0
    logs = np.log(ratios.values[known]), -np.log(small[known] / ratios.verified[known])
    if min(np.ptp(values) for values in logs) == 0:
        return 0.0
    return max(0.0, float(np.corrcoef(*logs)[0, 1])) ** 2


def _predict(small: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Predicted target score of each verified sample, float64 (n,); None if too few are known."""
    fitted = (small > NOTHING) & (target > NOTHING)
    if fitted.sum() < FEWEST_FITTED:
        return None
    x, y = np.log(small[fitted]), np.log(target[fitted])
    spread = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread else 0.0
    logs = slope * np.log(np.maximum(small, small[fitted].min()))
    predicted = np.exp(logs - logs.max())
    return predicted * (target.sum() / predicted.sum())


def _shrunken(ratios: Ratios) -> np.ndarray:
    variances, _ = ratios.log_variances()
    known = np.isfinite(variances) & (ratios.values > 0)
    values = np.where(np.isfinite(variances) | (ratios.verified == 0), ratios.values, 1.0)
    if not known.any():
        return values
    logs, variance = np.log(ratios.values[known]), np.maximum(variances[known], 1e-12)
    weights = 1 / variance
    between = max(0.0, ((weights * logs**2).sum() - known.sum()) / weights.sum())
    values[known] = np.exp(logs * between / (between + variance))
    return values
