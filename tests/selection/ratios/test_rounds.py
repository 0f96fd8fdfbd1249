"""Adaptive verification by simulation: what it costs, what it gains, and that it only adds."""

from functools import cache

import numpy as np
import pytest

from staff_engine import Pool, draw_verification, select_coreset
from staff_engine.errors import PlanError
from staff_engine.selection.ratios import rounds
from staff_engine.selection.ratios.rounds import draw_round, share_moved, spend

B_V = 10
HOW = {
    "num_strata": 20, "strata_by": "width", "drop_hardest": 0.0, "pruning_rate": 0.9,
    "allocation": "proportional", "ratio": "paper",
}  # fmt: skip
DRAWN = {name: HOW[name] for name in ("num_strata", "strata_by", "drop_hardest", "pruning_rate")}


def made_up(seed, noise=0.3):
    """Scores of two models. Strata of equal width differ much in size, and so in what their ratio decides."""
    rng = np.random.default_rng(seed)
    scores = rng.lognormal(sigma=0.7, size=4000)
    return scores, scores**0.7 * rng.lognormal(sigma=noise, size=4000)


def in_rounds(scores, target, seed, **how):
    """The row ids of each round, as a run verifies them."""
    pool, done = Pool(scores), []
    while True:
        ids = np.sort(np.concatenate([np.zeros(0, np.int64), *done]))
        last = done[-1] if len(done) > 1 else ()
        new = draw_round(
            pool, ids, target[ids], per_stratum=B_V, last_round=last, seed=seed, **{**HOW, **how}
        )
        if not len(new):
            return done
        assert not np.isin(new, ids).any() and (np.diff(new) > 0).all()
        done.append(new)


@cache
def errors(noise=0.3, seeds=40):
    """Share of the coreset that differs from that of a fully verified run: even, adaptive; and their cost."""
    found = []
    for seed in range(seeds):
        scores, target = made_up(seed, noise)
        full = select_coreset(scores, np.arange(4000), target, **HOW)
        even = draw_verification(scores, per_stratum=B_V, seed=seed, **DRAWN)
        ways = even, np.sort(np.concatenate(in_rounds(scores, target, seed)))
        found.append(
            [share_moved(full, select_coreset(scores, ids, target[ids], **HOW)) for ids in ways]
            + [len(ids) for ids in ways]
        )
    return np.array(found)


def test_it_is_nearer_to_a_fully_verified_coreset_where_strata_differ_and_costs_no_more():
    even, adaptive, even_cost, cost = errors().T
    assert (cost <= even_cost).all()
    assert adaptive.mean() < 0.92 * even.mean()


@pytest.mark.parametrize("strata_by", ["quantile", "log"])
def test_it_is_not_worse_where_strata_are_alike(strata_by):
    found = []
    for seed in range(30):
        scores, target = made_up(seed)
        how = {**HOW, "strata_by": strata_by}
        full = select_coreset(scores, np.arange(4000), target, **how)
        even = draw_verification(scores, per_stratum=B_V, seed=seed, **{**DRAWN, "strata_by": strata_by})
        own = np.sort(np.concatenate(in_rounds(scores, target, seed, strata_by=strata_by)))
        found.append(
            [share_moved(full, select_coreset(scores, ids, target[ids], **how)) for ids in (even, own)]
        )
    even, adaptive = np.array(found).T
    difference = adaptive - even
    assert difference.mean() < 2 * difference.std() / np.sqrt(len(difference)) + 0.002


def test_the_first_round_is_even_and_the_others_are_not():
    scores, target = made_up(0)
    first, *others = in_rounds(scores, target, 0)
    labels = select_coreset(scores, **HOW).labels
    sizes = np.bincount(labels, minlength=20)
    assert np.bincount(labels[first], minlength=20).tolist() == np.minimum(4, sizes).tolist()
    later = np.bincount(labels[np.concatenate(others)], minlength=20)
    assert len(others) <= rounds.ROUNDS and later.max() > 6 and later[sizes > 20].min() == 0


def test_a_round_that_changes_little_is_the_last(monkeypatch):
    scores, target = made_up(0)
    monkeypatch.setattr(rounds, "STOP", 1.1)
    assert len(in_rounds(scores, target, 0)) == 2
    monkeypatch.setattr(rounds, "STOP", 0.0)
    spent = np.concatenate(in_rounds(scores, target, 0))
    assert len(spent) == len(draw_verification(scores, per_stratum=B_V, **DRAWN))


def test_models_that_agree_perfectly_leave_nothing_to_verify_after_the_first_round():
    scores, _ = made_up(0)
    assert len(in_rounds(scores, 3 * scores, 0)) == 1


def test_what_is_already_verified_counts():
    scores, target = made_up(1)
    even = draw_verification(scores, per_stratum=B_V, seed=1, **DRAWN)
    more = draw_round(Pool(scores), even, target[even], per_stratum=B_V, seed=1, **HOW)
    assert len(more) == 0


def test_excluded_samples_are_never_drawn():
    scores, target = made_up(2)
    barred = np.arange(0, 4000, 2)
    drawn = np.concatenate(in_rounds(scores, target, 2, excluded=barred))
    assert not np.isin(drawn, barred).any() and len(drawn) > 50


def test_samples_are_given_where_they_narrow_the_squares_most():
    scores, target = made_up(3)
    first = in_rounds(scores, target, 3)[0]
    now = select_coreset(scores, first, target[first], **HOW)
    verified, room = now.verified, now.sizes
    widths = rounds._widths(now)

    def squares(counts):
        return (widths**2 * verified / np.maximum(counts, 1)).sum()

    wanted = spend(now, verified, room, 30)
    assert (wanted - verified).sum() == 30 and (wanted <= room).all() and (wanted >= verified).all()
    for gain, loss in np.ndindex(20, 20):
        if wanted[gain] < room[gain] and wanted[loss] > verified[loss]:
            other = wanted.copy()
            other[gain], other[loss] = other[gain] + 1, other[loss] - 1
            assert squares(wanted) <= squares(other) + 1e-9


def test_an_array_of_counts_draws_that_many_from_each_stratum():
    scores, _ = made_up(4)
    counts = np.arange(20)
    drawn = draw_verification(scores, per_stratum=counts, **DRAWN)
    selection = select_coreset(scores, **HOW)
    found = np.bincount(selection.labels[drawn], minlength=20)
    assert found.tolist() == np.minimum(counts, selection.sizes).tolist()
    for wrong in (np.arange(3), np.full(20, -1), np.zeros(20)):
        with pytest.raises(PlanError, match="one for each of 20 strata"):
            draw_verification(scores, per_stratum=wrong, **DRAWN)


def test_the_papers_allocation_is_refused_with_those_that_work():
    scores, target = made_up(0)
    with pytest.raises(
        PlanError, match=r"does not work with allocation 'paper'.*allowed: normalized, proportional"
    ):
        in_rounds(scores, target, 0, allocation="paper")
