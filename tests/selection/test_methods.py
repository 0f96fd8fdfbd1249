from dataclasses import replace

import numpy as np
import pytest

from staff_engine.errors import PlanError, RunError
from staff_engine.runs.coverage import coverage_of_methods
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from staff_engine.selection.baselines import d2
from staff_engine.selection.baselines.ccs import select_ccs
from staff_engine.selection.baselines.d2 import select_d2
from staff_engine.selection.baselines.moderate import select_moderate
from staff_engine.selection.baselines.ranked import select_el2n, select_grand, select_random
from staff_engine.selection.methods import METHODS, Method, needs_embedding
from staff_engine.selection.strata import coreset_size
from tests.helpers.made_run import UNSCORABLE, make_finished_run

ROWS = 200


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return open_results(make_finished_run(tmp_path, ROWS, drop_hardest=0.2, strata=8, seed=3).folder)


def test_the_table_holds_the_small_models_scores_and_nothing_of_unscorable_rows(results):
    table = small_scores(results)
    assert table.source == "small"
    np.testing.assert_array_equal(table.effort, results.speculative)
    scored = results.scores.set_index("row_id")
    for column in ("el2n", "loss"):
        values = getattr(table, column)
        np.testing.assert_array_equal(values[scored.index], scored[column])
        assert np.isnan(values[-UNSCORABLE:]).all()
    assert table.embedding.dtype == np.float16
    assert table.embedding.shape == (ROWS, 16)
    assert not table.embedding[-UNSCORABLE:].any()
    assert table.embedding[:-UNSCORABLE].any(axis=1).all()


def test_a_row_without_effort_is_unscorable_whatever_else_is_known_of_it(results):
    results.speculative[5] = np.nan
    table = small_scores(results)
    assert np.isnan([table.el2n[5], table.loss[5]]).all()
    assert not table.embedding[5].any()
    chosen = [choose(name, results, table, pruning_rate=0.0, seed=0) for name in METHODS]
    for ids in chosen:
        np.testing.assert_array_equal(ids, np.setdiff1d(np.arange(ROWS - UNSCORABLE), 5))


def test_each_method_chooses_by_its_own_function_with_the_plans_cut(results):
    table = small_scores(results)
    common = {"pruning_rate": 0.7, "seed": 4}
    expected = {
        "staff": results.select(**common).indices,
        "random": select_random(table.effort, **common),
        "grand": select_grand(table.effort, **common),
        "el2n": select_el2n(table.el2n, **common),
        "ccs": select_ccs(table.effort, beta=0.2, **common),
        "d2": select_d2(table.effort, table.embedding, beta=0.2, **common),
        "moderate": select_moderate(table.effort, table.embedding, **common),
    }
    assert expected.keys() == METHODS.keys()
    for name, ids in expected.items():
        np.testing.assert_array_equal(choose(name, results, table, **common), ids)


def test_beta_moves_ccs_and_d2_alone(results):
    table = small_scores(results)
    for name, method in METHODS.items():
        chosen = [
            choose(name, results, table, pruning_rate=0.7, seed=0, beta=beta) for beta in (None, 0.2, 0.0)
        ]
        np.testing.assert_array_equal(chosen[0], chosen[1])
        assert np.array_equal(chosen[0], chosen[2]) == (not method.cuts)


def test_the_seed_moves_the_methods_that_draw(results):
    table = small_scores(results)
    for name, method in METHODS.items():
        first, second = (choose(name, results, table, pruning_rate=0.7, seed=seed) for seed in (0, 1))
        assert np.array_equal(first, second) == (not method.draws)


def test_d2_looks_for_neighbours_once_for_all_rates_with_the_same_cut(results, monkeypatch):
    looked = []
    search = d2.neighbour_graph
    monkeypatch.setattr(d2, "neighbour_graph", lambda *given: looked.append(len(given[0])) or search(*given))
    table = small_scores(results)
    rates = (0.9, 0.5, 0.1, 0.9)
    chosen = [choose("d2", results, table, pruning_rate=rate, seed=0) for rate in rates]
    assert looked == [155, 174]  # at 0.1 the cut of 38 of 193 gives way
    for rate, ids in zip(rates, chosen, strict=True):
        alone = d2.select_d2(table.effort, table.embedding, pruning_rate=rate, beta=0.2)
        np.testing.assert_array_equal(ids, alone)
    assert not replace(table, effort=table.effort * 2).graphs  # other scores, other graphs


def test_a_method_that_there_is_not_is_refused_with_those_there_are(results):
    with pytest.raises(PlanError, match="method is 'd3'; allowed: staff, random, grand, el2n, ccs, d2, mod"):
        choose("d3", results, small_scores(results), pruning_rate=0.5, seed=0)


def test_only_staff_is_the_runs_own_selection():
    assert [name for name, method in METHODS.items() if method.choose is None] == ["staff"]
    assert all(name == method.name for name, method in METHODS.items())


def test_an_entry_in_the_registry_is_all_that_a_new_method_needs(results, monkeypatch):
    def choose_first(table, *, pruning_rate, seed, beta):
        rows = np.flatnonzero(np.isfinite(table.effort))
        return rows[: coreset_size(len(rows), pruning_rate)] + int(beta > 0.2)

    added = Method(
        "first", "First", "Takes the first rows.", "scores", draws=False, cuts=True, choose=choose_first
    )
    monkeypatch.setitem(METHODS, "first", added)
    table = small_scores(results)
    for beta, first in ((None, 0), (0.3, 1)):
        ids = choose("first", results, table, pruning_rate=0.9, seed=0, beta=beta)
        np.testing.assert_array_equal(ids, np.arange(first, first + 19))
    [found] = coverage_of_methods(results, table, ["staff", "first"], pruning_rates=[0.9], seed=0)
    assert found.coverage.names == ("staff", "first")


def test_a_run_without_embeddings_serves_the_methods_that_read_none(results):
    table = replace(small_scores(results), embedding=np.zeros((ROWS, 0), np.float16))
    for name in METHODS:
        if needs_embedding(name):
            with pytest.raises(RunError, match=r"reads embeddings, and run .* has none"):
                choose(name, results, table, pruning_rate=0.5, seed=0)
        else:
            assert len(choose(name, results, table, pruning_rate=0.5, seed=0)) == 96  # round(193 / 2)


def test_embeddings_that_overflowed_in_float16_are_the_greatest_number(results):
    import pyarrow as pa
    import pyarrow.parquet as pq

    [path] = (results.folder / "embedding").glob("*.parquet")
    table = pq.read_table(path)
    vectors = table["vector"].combine_chunks().flatten().to_numpy().copy().reshape(-1, 16)
    vectors[0, :3] = [np.inf, -np.inf, np.nan]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 16)
    pq.write_table(pa.table({"row_id": table["row_id"], "vector": column}), path)
    read = small_scores(results).embedding
    assert read[0, :3].tolist() == [65504, -65504, 0]
    assert len(choose("moderate", results, small_scores(results), pruning_rate=0.9, seed=0)) == 19
