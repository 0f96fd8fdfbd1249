import time

import numpy as np
import pytest

from staff_engine.errors import PlanError
from staff_engine.runs.results import open_results
from staff_engine.samples.columns import sample_columns
from staff_engine.samples.filters import QUERY_NAMES, Filter
from tests.helpers.made_run import UNSCORABLE, make_finished_run


@pytest.fixture
def columns(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    results = open_results(make_finished_run(tmp_path, 200).folder)
    return sample_columns(results, results.select())


FULL = Filter(
    strata=(0, 4, 5, 6),
    score=(0.5, 2.25),
    verification=(1.0, 9.0),
    loss=(0.0, 3.0),
    tokens=(5, 30),
    map_x=(-1.5, 2.0),
    map_y=(0.0, 1e-5),
    kept=True,
    verified=False,
    scorable=True,
    text="a & b=c",
)


def test_a_filter_comes_back_from_its_link():
    assert Filter.from_query(FULL.to_query()) == FULL
    assert set(FULL.to_query()) == QUERY_NAMES
    assert Filter.from_query({}) == Filter()


def test_dropped_samples_can_be_asked_for_by_their_label():
    assert Filter.from_query({"strata_in": "-1"}).strata == (-1,)


@pytest.mark.parametrize("text", ["0-10000", "99999", "-3", "0-9999," * 2000 + "x"])
def test_strata_that_no_plan_can_have_are_refused_in_a_short_sentence(text):
    with pytest.raises(PlanError, match="strata_in is ") as error:
        Filter.from_query({"strata_in": text})
    assert len(str(error.value)) < 200


def test_many_overlapping_ranges_cost_no_more_than_one():
    begun = time.perf_counter()
    chosen = Filter.from_query({"strata_in": ",".join(["0-9999"] * 10_000)})
    assert chosen.strata == tuple(range(10_000))
    assert time.perf_counter() - begun < 5
    assert chosen.to_query() == {"strata_in": "0-9999"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strata_in", "seven"),
        ("strata_in", "7-4"),
        ("strata_in", ""),
        ("score_in", "1"),
        ("score_in", "2..1"),
        ("score_in", "nan..1"),
        ("tokens_in", "a..b"),
        ("kept", "perhaps"),
    ],
)
def test_a_link_that_says_nonsense_is_refused_with_its_value(name, value):
    with pytest.raises(PlanError, match=f"{name} is '{value}'"):
        Filter.from_query({name: value})


def test_a_filter_says_itself_in_words():
    assert dict(Filter(strata=(1, 2, 5), score=(0.5, 12345.678), kept=False, text="tea").words()) == {
        "strata": "strata 1-2,5",
        "score": "score on the small model 0.5 to 1.235e+04",
        "kept": "not kept",
        "text": "text contains “tea”",
    }
    assert Filter(strata=(3,)).words() == [("strata", "stratum 3")]
    assert Filter().words() == []


def test_a_part_that_is_taken_out_is_gone_and_the_rest_stays():
    assert FULL.without("score") == FULL.but(score=None)
    parts = [name for name, _ in FULL.words()]
    rest = FULL
    for name in parts:
        assert not rest.empty
        rest = rest.without(name)
    assert rest.empty


def test_every_part_lets_pass_what_it_says(columns):
    rows = len(columns)
    assert Filter().mask(columns).sum() == rows
    assert Filter(scorable=False).mask(columns).sum() == UNSCORABLE
    np.testing.assert_array_equal(Filter(kept=True).mask(columns), columns.kept)
    np.testing.assert_array_equal(Filter(strata=(0, 3)).mask(columns), np.isin(columns.strata, (0, 3)))
    middle = float(np.nanmedian(columns.speculative))
    assert Filter(score=(middle, np.inf)).mask(columns).sum() == (rows - UNSCORABLE + 1) // 2
    chosen = Filter(verified=True, tokens=(10, 20)).mask(columns)
    assert chosen.any()
    assert np.isfinite(columns.verification[chosen]).all()
    assert columns.response_tokens[chosen].min() >= 10
    assert columns.response_tokens[chosen].max() <= 20


def test_a_range_holds_both_its_ends_and_no_row_without_a_score(columns):
    low, high = np.nanmin(columns.speculative), np.nanmax(columns.speculative)
    assert Filter(score=(low, high)).mask(columns).sum() == columns.scorable.sum()


def test_a_part_of_the_map_needs_the_coordinates(columns):
    places = np.full((len(columns), 2), np.nan)
    places[:10] = np.arange(20).reshape(10, 2)
    chosen = Filter(map_x=(2, 6), map_y=(0, 5)).mask(columns, places)
    assert np.flatnonzero(chosen).tolist() == [1, 2]
    for name in ("map_x", "map_y"):
        with pytest.raises(TypeError, match="map position needs the map coordinates"):
            Filter(**{name: (2, 6)}).mask(columns)
