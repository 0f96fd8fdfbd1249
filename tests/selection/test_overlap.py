import numpy as np
import pytest

from staff_engine.selection.coreset import select_coreset
from staff_engine.selection.overlap import overlap_of

SCORES = np.append(np.random.default_rng(0).lognormal(0, 1, 1000), np.nan)


def test_shared_and_single_rows_make_up_both_coresets():
    a = select_coreset(SCORES, pruning_rate=0.9, num_strata=10)
    b = select_coreset(SCORES, pruning_rate=0.8, num_strata=7, seed=4)
    found = overlap_of(a, b)
    assert sorted([*found.shared, *found.only_a]) == a.indices.tolist()
    assert sorted([*found.shared, *found.only_b]) == b.indices.tolist()
    assert not set(found.only_a) & set(found.only_b)
    assert found.scorable == 1000
    assert found.jaccard == len(found.shared) / len(set(a.indices) | set(b.indices))


def test_a_coreset_is_like_itself():
    a = select_coreset(SCORES, pruning_rate=0.9)
    found = overlap_of(a, a)
    assert found.jaccard == 1
    assert not len(found.only_a)


def test_chance_is_what_coresets_drawn_without_looking_share():
    a = select_coreset(SCORES, pruning_rate=0.9)
    rng = np.random.default_rng(1)
    sizes = [
        len(np.intersect1d(rng.permutation(1000)[:100], rng.permutation(1000)[:100])) for _ in range(2000)
    ]
    shares = [size / (200 - size) for size in sizes]
    assert overlap_of(a, a).jaccard_by_chance == pytest.approx(np.mean(shares), rel=0.03)


def test_selections_of_other_data_are_refused():
    a = select_coreset(SCORES, pruning_rate=0.9)
    b = select_coreset(SCORES[:-1], pruning_rate=0.9)
    with pytest.raises(ValueError, match="1001 and 1000"):
        overlap_of(a, b)
