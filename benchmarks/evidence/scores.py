"""What a run's scores measure: response length, what both models agree on, and what the ratios say."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.machine import table
from staff_engine.runs.results import Results
from staff_engine.selection.agreement import rank_agreement, rank_correlation
from staff_engine.selection.ratios.calibration import follows_score
from staff_engine.selection.ratios.rules import ratios_by
from staff_engine.selection.scores import SCORES
from staff_engine.selection.strata import stratify

STRATA = 10
"""Strata of equal size in which the ratios are compared."""

LENGTHS = """## What the scores measure

Rank correlation (Spearman) of the small model's scores with the number of response tokens, over all samples.
Then that of both models' scores, over the verified samples, with its 95 % bootstrap interval: as it is, and
with response length held constant.
"""

RATIOS = f"""## What the verification ratios say

The verified samples are divided into {STRATA} strata of equal size by effort. The table has the ratio of the
easiest and of the hardest stratum. The paper's ratio divides the target's scores by the small model's.
*Explained* is the share of the variance of its logarithm that 1 / score alone explains. The calibrated ratio
divides by what the small model's scores predict, and is shrunk towards 1.
"""


def score_facts(results: Results) -> dict[str, Any]:
    """The figures of a run.

    Returns
    -------
    dict
        samples and verified, numbers; lengths, a rank correlation for each score that the run has;
        agreement, for effort and length-adjusted effort, value, low and high, plain and held; ratios: first
        and last of `STRATA`, for the rules paper and calibrated, and explained, 0 to 1.
    """
    tokens = results.response_tokens
    return {
        "samples": int(np.isfinite(results.speculative).sum()),
        "verified": len(results.verified_ids),
        "lengths": {
            name: rank_correlation(results.scores_by(name), tokens)
            for name in SCORES
            if not results.lacks(name)
        },
        "agreement": {name: _agreement(results, name) for name in ("effort", "length-adjusted")},
        "ratios": _ratios(results),
    }


def _agreement(results: Results, score: str) -> dict[str, list[float]]:
    drawn = results.verified_ids
    found = rank_agreement(
        results.scores_by(score)[drawn], results.verified_by(score), lengths=results.response_tokens[drawn]
    )
    return {
        "plain": [found.spearman, found.low, found.high],
        "held": [found.partial, found.partial_low, found.partial_high],
    }


def _ratios(results: Results) -> dict[str, Any]:
    effort = results.speculative
    strata = stratify(effort, num_strata=STRATA, by="quantile")
    ids, verified = results.verified_ids, results.verified_by("effort")
    calibrated, paper = ratios_by("calibrated", strata, effort, ids, verified)
    return {
        "explained": follows_score(paper),
        **{
            name: [float(ratios.values[0]), float(ratios.values[-1])]
            for name, ratios in (("paper", paper), ("calibrated", calibrated))
        },
    }


def sections(scores: dict[str, dict[str, Any]]) -> str:
    """Both tables of the page; "" before a run is measured.

    Parameters
    ----------
    scores
        `score_facts` by the name of a data set, or of a data set and an arm.
    """
    if not scores:
        return ""
    names = list(dict.fromkeys(name for each in scores.values() for name in each["lengths"]))
    heading = ("data", *(SCORES[name].label for name in names), "both models", "with length held")
    lengths = [
        (
            data,
            *(_number(each["lengths"].get(name)) for name in names),
            *(_interval(each["agreement"]["effort"][kind]) for kind in ("plain", "held")),
        )
        for data, each in scores.items()
    ]
    ratios = [
        (
            data, f"{each['verified']:,}", *(f"{value:.2f}" for value in each["ratios"]["paper"]),
            f"{each['ratios']['explained']:.0%}",
            *(f"{value:.2f}" for value in each["ratios"]["calibrated"]),
        )
        for data, each in scores.items()
    ]  # fmt: skip
    columns = (
        "data", "verified", "paper, easiest", "paper, hardest", "explained",
        "calibrated, easiest", "calibrated, hardest",
    )  # fmt: skip
    return "\n".join([LENGTHS, table(heading, lengths), "", RATIOS, table(columns, ratios), ""])


def _number(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:+.2f}"


def _interval(values: list[float]) -> str:
    value, low, high = values
    return f"{_number(value)} ({_number(low)} to {_number(high)})"
