"""The rules of ratios; the released code's against a slow rewriting of its function."""

import math

import numpy as np
import pytest

from staff_engine import select_coreset
from staff_engine.errors import PlanError
from staff_engine.selection.ratios.rules import NOT_VERIFIED, RATIOS, ratios_by, samples_to_verify
from staff_engine.selection.strata import stratify


def released_counts(small, target, verified, *, rate, num_strata=50):
    """What each stratum gives, and whom, before the released code fills up at random.

    Its steps, one after the other: scores from 0 to 1, a tenth dropped, equal widths, strata served from
    the smallest, the hardest of each. Those of up to 10 samples are not verified and share equally.
    """
    small, target = ((s - s.min()) / (s.max() - s.min()) for s in (small, target))
    left = int(len(small) * rate)
    hardest_first = np.argsort(-small, kind="stable")[math.floor(0.1 * len(small)) :]
    low, high = small[hardest_first].min(), small[hardest_first].max()
    edges = [low + (high - low) * i / num_strata for i in range(1, num_strata)]
    strata = [[] for _ in range(num_strata)]
    for row in hardest_first:
        strata[sum(small[row] >= edge for edge in edges)].append(row)
    queue = sorted((s for s in strata if s), key=len)
    ratios = []
    for rows in queue:
        inside = [row for row in rows if row in verified]
        ratios.append(
            None if len(rows) <= 10 else sum(target[r] for r in inside) / sum(small[r] for r in inside)
        )
    chosen = []
    while queue:
        if ratios[0] is None:
            count = math.floor(left / len(queue))
        else:
            count = math.floor(left * ratios[0] / sum(ratios))
        count = min(count, len(queue[0]))
        chosen += queue[0][:count]
        left -= count
        queue, ratios = queue[1:], ratios[1:]
    return set(chosen), left


@pytest.mark.parametrize("seed", range(200))
def test_the_released_preset_is_the_authors_function_up_to_what_that_fills_up_at_random(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(300, 1200))
    small = rng.lognormal(sigma=0.4, size=count)
    target = small ** rng.uniform(0, 1.5) * rng.lognormal(sigma=0.5, size=count)
    verified = np.arange(count)  # their code scores everything on the target
    rate = float(rng.choice([0.1, 0.2, 0.3]))
    size = int(count * rate)
    expected, left = released_counts(small, target, set(verified.tolist()), rate=rate)
    selection = select_coreset(
        small,
        verified,
        target,
        pruning_rate=1 - size / count,
        ratio="released",
        allocation="normalized",
        within="hardest",
    )
    assert len(selection.indices) == size
    assert expected <= set(selection.indices.tolist())
    assert len(selection.indices) - len(expected) == left


def test_the_released_rule_has_no_ratio_for_small_strata():
    scores = np.r_[np.linspace(1, 2, NOT_VERIFIED), np.linspace(3, 4, NOT_VERIFIED + 5)]
    strata = stratify(scores, num_strata=2)
    ratios, paper = ratios_by("released", strata, scores, [0, 12, 20], [5.0, 2.0, 3.0])
    assert np.isnan(ratios.values).tolist() == [True, False]
    assert np.isfinite(paper.values).all()


def test_with_equal_ratios_no_target_score_matters_and_none_is_needed():
    scores = np.random.default_rng(0).lognormal(size=200)
    ids, common = np.arange(60), {"pruning_rate": 0.7, "num_strata": 8, "ratio": "equal"}
    with_target = select_coreset(scores, ids, scores[ids] ** -2, **common)
    without = select_coreset(scores, **common)
    np.testing.assert_array_equal(with_target.indices, without.indices)
    np.testing.assert_array_equal(with_target.ratios, 1.0)
    assert with_target.strata[["ratio_low", "ratio_high"]].isna().all(axis=None)
    assert with_target.warnings == without.warnings == ()
    assert [samples_to_verify(rule, 5) for rule in RATIOS] == [5, 5, 5, 0]


@pytest.mark.parametrize("rule", RATIOS)
def test_every_rule_hands_the_papers_ratios_along(rule):
    scores = np.random.default_rng(0).lognormal(size=100)
    strata = stratify(scores, num_strata=4)
    arguments = (strata, scores, np.arange(40), np.sqrt(scores[:40]))
    _, paper = ratios_by(rule, *arguments)
    np.testing.assert_array_equal(paper.values, ratios_by("paper", *arguments)[0].values)


def test_an_unknown_rule_is_refused_with_those_that_are_known():
    with pytest.raises(PlanError, match="ratio is 'fair'; allowed: paper, calibrated, released, equal"):
        select_coreset(np.arange(9.0), pruning_rate=0.5, ratio="fair")
