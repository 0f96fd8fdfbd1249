import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staff_engine.data.inspection.findings import BINS, DataChoice, measure

LENGTHS = st.lists(st.integers(0, 2**31), min_size=1, max_size=50)


@given(LENGTHS)
def test_every_length_is_in_one_bar_or_among_the_empty(values):
    lengths = measure(np.array(values, dtype=np.uint32))
    aside = lengths.empty if lengths.log else 0
    assert sum(lengths.counts) + aside == len(values)
    for low, high, count in zip(lengths.edges, lengths.edges[1:], lengths.counts, strict=False):
        assert count == sum(low <= value < high for value in values)


@given(LENGTHS)
def test_edges_are_whole_numbers_that_rise_and_are_not_too_many(values):
    edges = np.array(measure(np.array(values, dtype=np.uint32)).edges)
    assert (edges == np.round(edges)).all()
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 10 * 10 + 2 * BINS


def test_a_long_tail_is_counted_on_a_log_scale_and_an_even_spread_is_not():
    assert not measure(np.arange(1000)).log
    assert measure(np.array([10] * 99 + [100_000])).log


def test_of_no_rows_there_is_no_length():
    assert measure(np.array([], dtype=np.uint32)) is None


@pytest.mark.parametrize(
    ("choice", "changed"),
    [
        (DataChoice(dataset="a"), {"dataset": "a"}),
        (
            DataChoice(dataset="a", format="messages", limit=5),
            {"dataset": "a", "format": "messages", "limit": 5},
        ),
    ],
)
def test_a_choice_takes_the_place_of_all_that_a_plan_said_of_data(choice, changed):
    before = {"dataset": "b", "prompt_column": "x", "response_column": "y", "split": "test", "strata": 7}
    assert choice.into(before) == {"strata": 7, **changed}
