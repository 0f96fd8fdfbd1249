import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine.errors import PlanError
from staff_engine.selection import allocation as core
from staff_engine.selection.allocation import ALLOCATIONS, allocate
from tests.helpers import oracles

# Ratios are fractions of a power of two, so that floats and exact fractions are the same numbers.
RATIOS = st.integers(0, 200).map(lambda n: n / 64) | st.sampled_from([0.0, 1.0, 2.0**-14, 2.0**8])


@st.composite
def cases(draw):
    sizes = draw(st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any))
    ratios = draw(st.lists(RATIOS, min_size=len(sizes), max_size=len(sizes)))
    return sizes, ratios, draw(st.integers(0, sum(sizes)))


def budget(sizes, ratios, coreset_size, allocation="paper"):
    return allocate(np.array(sizes), np.array(ratios, float), coreset_size, allocation=allocation).tolist()


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@settings(deadline=None, max_examples=300)
@given(case=cases())
def test_the_counts_are_those_of_the_slow_loop(allocation, case):
    assert budget(*case, allocation) == oracles.BUDGETS[allocation](*case)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@settings(deadline=None)
@given(case=cases())
def test_the_counts_sum_to_m_and_stay_within_the_sizes(allocation, case):
    sizes, ratios, coreset_size = case
    counts = np.array(budget(sizes, ratios, coreset_size, allocation))
    assert counts.sum() == coreset_size
    assert (counts >= 0).all() and (counts <= sizes).all()


def test_the_paper_shares_what_is_left_by_the_number_of_strata_to_serve():
    # ⌊12·0.5/3⌋ = 2, ⌊10·1/2⌋ = 5, ⌊5·1.5/1⌋ = 7 but 5 are left
    assert budget([10, 20, 30], [0.5, 1, 1.5], 12) == [2, 5, 5]


def test_the_normalized_rule_shares_by_the_sum_of_the_ratios_to_serve():
    # ⌊12·0.5/3⌋ = 2, ⌊10·1/2.5⌋ = 4, ⌊6·1.5/1.5⌋ = 6
    assert budget([10, 20, 30], [0.5, 1, 1.5], 12, "normalized") == [2, 4, 6]


def test_strata_are_served_by_size_and_then_by_index():
    # With 5 for 2 strata the first to be served gets ⌊5/2⌋ = 2, the last the rest.
    assert budget([9, 4], [1, 1], 5) == [3, 2]
    assert budget([4, 4], [1, 1], 5) == [2, 3]


def test_a_stratum_gives_at_most_what_it_holds_and_the_rest_goes_on():
    assert budget([2, 50, 50], [1, 1, 1], 32) == [2, 15, 15]


def test_what_one_walk_leaves_is_walked_again_over_the_strata_with_room():
    # First ⌊16·0.5/2⌋ = 4 (full) and ⌊12·0.5⌋ = 6; then one stratum: ⌊6·0.5⌋ = 3, ⌊3·0.5⌋ = 1, …
    assert budget([4, 100], [0.5, 0.5], 16) == [4, 12]


def test_a_walk_that_places_nothing_gives_one_each_by_ratio_greatest_first():
    assert budget([10, 10, 10], [0.1, 0.3, 0.2], 2) == [0, 1, 1]
    assert budget([10, 10, 10], [0.2, 0.1, 0.2], 1) == [1, 0, 0]


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_without_ratios_every_stratum_gets_an_equal_share(allocation):
    assert budget([40] * 5, [1] * 5, 100, allocation) == [20] * 5


@pytest.mark.parametrize(
    ("allocation", "counts"),
    [("paper", [3, 4, 5]), ("normalized", [3, 4, 5]), ("proportional", [2, 6, 4])],
)
def test_ratios_of_0_still_fill_the_coreset(allocation, counts):
    assert budget([3, 9, 5], [0, 0, 0], 12, allocation) == counts


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_a_coreset_of_everything_takes_everything(allocation):
    assert budget([3, 0, 7], [0.01, 5, 3], 10, allocation) == [3, 0, 7]


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_an_empty_coreset_takes_nothing(allocation):
    assert budget([3, 7], [1, 1], 0, allocation) == [0, 0]


def test_a_share_that_rounding_puts_below_a_whole_number_is_that_number():
    nearly_1 = 1 - 2**-53
    assert budget([50, 60], [nearly_1, nearly_1], 100) == budget([50, 60], [1, 1], 100) == [50, 50]


@pytest.mark.parametrize("ratio", [0, 1e-5, 1e-4])
def test_ratios_near_0_end_after_few_walks_with_the_counts_of_the_slow_loop(monkeypatch, ratio):
    walks = []
    walk = core._walk
    monkeypatch.setattr(core, "_walk", lambda *args: walks.append(1) or walk(*args))
    assert budget([900, 1700], [ratio] * 2, 2500) == oracles.paper_budget([900, 1700], [ratio] * 2, 2500)
    assert sum(budget([10**6] * 3, [ratio] * 3, 2 * 10**6)) == 2 * 10**6
    assert len(walks) < 6_000  # one by one it would be 50,000 and more


def test_without_ratios_the_proportional_rule_keeps_the_distribution_of_the_data():
    assert budget([10, 60, 30], [1, 1, 1], 10, "proportional") == [1, 6, 3]
    assert budget([1, 1, 1], [1, 1, 1], 2, "proportional") == [1, 1, 0]


def test_the_proportional_rule_shares_by_size_times_ratio():
    assert budget([10, 20, 30], [3, 1.5, 1], 12, "proportional") == [4, 4, 4]
    # 60 of 100 would be more than the 10 that the first holds: the others share what is left
    assert budget([10, 90], [9, 1], 40, "proportional") == [10, 30]


@settings(deadline=None)
@given(case=cases(), more=st.integers(1, 5))
def test_a_stratum_of_higher_ratio_and_the_same_size_gets_no_less(case, more):
    sizes, ratios, coreset_size = case
    sizes, ratios = [sizes[0], *sizes], [ratios[0] + more, *ratios]
    counts = budget(sizes, ratios, coreset_size, "proportional")
    assert counts[0] >= counts[1]


def test_huge_ratios_take_what_is_left():
    assert budget([5, 9], [1e300, 1], 7) == [5, 2]


def test_an_unknown_rule_is_refused_with_those_that_are_known():
    with pytest.raises(PlanError, match="allocation is 'equal'; allowed: paper, normalized, proportional"):
        budget([1], [1], 1, "equal")


def test_more_than_the_strata_hold_is_refused():
    with pytest.raises(ValueError, match="coreset_size is 9; allowed: 0 to the strata's 8 samples"):
        budget([3, 5], [1, 1], 9)
