from dataclasses import replace

import numpy as np
import pytest

from staff_engine.errors import PlanError, RunError
from staff_engine.program import COMMAND
from staff_engine.runs.cost import column_seconds, samples_for_selection, selection_seconds
from staff_engine.runs.coverage import coverage_of_methods
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.results import Results, open_results
from staff_engine.runs.score_tables import choose, missing_of, settings_of, small_scores
from staff_engine.runs.summary import save_summary
from staff_engine.runs.verification.drawing import count_verified, to_verify
from staff_engine.selection.baselines import d2
from staff_engine.selection.baselines.ccs import select_ccs
from staff_engine.selection.baselines.d2 import select_d2
from staff_engine.selection.baselines.facility import select_facility
from staff_engine.selection.baselines.kmeans import select_kmeans
from staff_engine.selection.baselines.moderate import select_moderate
from staff_engine.selection.baselines.oracle import select_oracle
from staff_engine.selection.baselines.perplexity import select_perplexity
from staff_engine.selection.baselines.random_budgets import select_random_extra, select_random_tokens
from staff_engine.selection.baselines.ranked import select_el2n, select_grand, select_random
from staff_engine.selection.baselines.s2l import select_s2l
from staff_engine.selection.baselines.superfiltering import select_superfiltering
from staff_engine.selection.coreset import select_coreset
from staff_engine.selection.methods import DEFAULT_METHODS, METHODS, Method, labels_where
from staff_engine.selection.strata import coreset_size
from staff_engine.system.files import write_json
from tests.helpers.made_run import UNSCORABLE, make_finished_run, write_alone, write_trajectory

ROWS = 200


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    run = make_finished_run(tmp_path, ROWS, kinds=True, drop_hardest=0.2, strata=8, seed=3, checkpoints=3)
    write_alone(run)
    write_trajectory(run)
    return open_results(run.folder)


def test_the_table_holds_the_small_models_scores_and_nothing_of_unscorable_rows(results):
    table = small_scores(results)
    assert table.source == "small"
    np.testing.assert_array_equal(table.effort, results.speculative)
    scored = results.scores.set_index("row_id")
    for column in ("el2n", "loss", "response_tokens"):
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
        "staff-paper": results.select(preset="paper", **common).indices,
        "staff-released": results.select(preset="released", **common).indices,
        "staff-studio": results.select(preset="studio", **common).indices,
        "staff-unverified": results.select(ratio="equal", **common).indices,
        "staff-unstratified": results.select(strata=1, ratio="equal", **common).indices,
        "random": select_random(table.effort, **common),
        "grand": select_grand(table.effort, **common),
        "el2n": select_el2n(table.el2n, **common),
        "ccs": select_ccs(table.effort, beta=0.2, **common),
        "d2": select_d2(table.effort, table.embedding, beta=0.2, **common),
        "moderate": select_moderate(table.effort, table.embedding, **common),
        "random-tokens": select_random_tokens(
            table.effort,
            results.response_tokens,
            tokens=results.response_tokens[results.select(**common).indices].sum(),
            seed=4,
        ),
        "random-time": select_random_extra(
            table.effort, extra=samples_for_selection(results, **common), **common
        ),
        "perplexity": select_perplexity(table.loss, **common),
        "kmeans": select_kmeans(table.effort, table.embedding, **common),
        "facility": select_facility(table.effort, table.embedding, **common),
        "s2l": select_s2l(table.effort, table.trajectories, **common),
        "superfiltering": select_superfiltering(table.effort, table.ifd, **common),
        "oracle": select_oracle(table.effort, np.arange(ROWS) % 4 > 0, **common),
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


def test_the_number_of_strata_moves_ccs_alone(results):
    table = small_scores(results)
    for name, method in METHODS.items():
        chosen = [
            choose(name, results, table, pruning_rate=0.7, seed=0, strata=strata) for strata in (None, 50, 4)
        ]
        np.testing.assert_array_equal(chosen[0], chosen[1])
        assert np.array_equal(chosen[0], chosen[2]) == (not method.stratifies)


def test_random_at_equal_tokens_has_the_tokens_of_the_runs_own_coreset(results):
    table, common = small_scores(results), {"pruning_rate": 0.8, "seed": 2}
    for within in ("random", "hardest"):
        own = {**common, "within": within}
        wanted = results.response_tokens[results.select(**own).indices].sum()
        chosen = choose("random-tokens", results, table, settings=own, **common)
        reached = results.response_tokens[chosen].sum()
        assert wanted <= reached < wanted + results.response_tokens[chosen].max()


def with_slow_target(results):
    """Times of a target that takes 10 / 1.93 · 40 s to train on the 193 samples."""
    write_json(results.folder / "timings.json", {"fine-tune": 10.0, "speculate": 3.0, "verify": 1.0})
    slow = results.summary.model_copy(update={"full_target_seconds_estimate": 40.0})
    save_summary(results.folder, slow)
    return open_results(results.folder)


def test_random_at_equal_time_draws_as_many_more_as_the_target_trains_on_in_that_time(results):
    results = with_slow_target(results)
    chosen = choose("random-time", results, small_scores(results), pruning_rate=0.9, seed=2)
    verifying = count_verified(results, pruning_rate=0.9, seed=2) / len(results.verified_ids)
    extra = (10 + 3 + verifying) / (10 / 1.93 * 40 / 193)
    assert len(chosen) == 19 + round(extra) == 19 + 13


def test_without_a_verified_sample_the_targets_speed_is_unknown(results):
    unknown = results.summary.model_copy(update={"full_target_seconds_estimate": None})
    save_summary(results.folder, unknown)
    results = open_results(results.folder)
    with pytest.raises(RunError, match="has not verified samples, so the target's speed is unknown"):
        choose("random-time", results, small_scores(results), pruning_rate=0.9, seed=2)


def test_the_seed_moves_the_methods_that_draw(results):
    results = with_slow_target(results)
    table = small_scores(results)
    for name, method in METHODS.items():
        if name == "facility":
            continue  # it draws only if there are too many samples to compare each with each
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
    with pytest.raises(PlanError, match=f"method is 'd3'; allowed: {', '.join(METHODS)}"):
        choose("d3", results, small_scores(results), pruning_rate=0.5, seed=0)


def test_a_method_of_staff_is_the_runs_own_selection_with_some_settings_replaced(results):
    mine = [name for name, method in METHODS.items() if method.of_run]
    assert mine == [name for name in METHODS if name.startswith("staff")]
    assert all(name == method.name for name, method in METHODS.items())
    table, own = small_scores(results), {"within": "hardest", "drop_hardest": 0.0}
    for name in mine:
        chosen = choose(name, results, table, pruning_rate=0.7, seed=4, settings=own)
        settings = {**own, "pruning_rate": 0.7, "seed": 4, **METHODS[name].settings}
        np.testing.assert_array_equal(chosen, results.select(**settings).indices)


def test_by_default_the_runs_own_selection_is_compared_with_the_classic_baselines():
    assert DEFAULT_METHODS == ("staff", "random", "grand", "el2n", "ccs", "d2", "moderate")


def test_without_verification_the_targets_scores_have_no_influence(results, monkeypatch):
    table, common = small_scores(results), {"pruning_rate": 0.7, "seed": 4}
    names = ("staff-unverified", "staff-unstratified", "staff")
    before = {name: choose(name, results, table, **common) for name in names}
    turned = results.verified_by("effort")[::-1]
    monkeypatch.setattr(Results, "verified_by", lambda results, score: turned)
    for name in names:
        same = np.array_equal(before[name], choose(name, results, table, **common))
        assert same == (name != "staff")


def test_without_strata_all_but_the_hardest_are_drawn_alike(results):
    chosen = choose("staff-unstratified", results, small_scores(results), pruning_rate=0.7, seed=4)
    np.testing.assert_array_equal(chosen, select_coreset(
        results.speculative, pruning_rate=0.7, num_strata=1, drop_hardest=0.2, seed=4
    ).indices)  # fmt: skip


def test_a_method_that_needs_more_verification_says_how_much_and_how(results):
    common = {"pruning_rate": 0.7, "seed": 0}
    assert missing_of("staff", results, **common) == missing_of("d2", results, **common) == (0, "")
    for name in ("staff-unverified", "staff-unstratified"):
        assert missing_of(name, results, **common) == (0, "")
    few = {**common, "strata": 40}
    assert missing_of("random-tokens", results, **few) == missing_of("staff", results, **few) != (0, "")
    assert missing_of("random", results, **few) == (0, "")
    count, command = missing_of("staff-studio", results, **common)
    assert count == len(to_verify(results, preset="studio", **common)) > 0
    words = "--pruning-rate 0.7 --score length-adjusted --strata 20 --strata-by quantile --ratio calibrated"
    words += " --allocation proportional --drop-hardest 0.3 --drop-by ifd --drop-evenly --near-duplicates 0.9"
    assert command == f"{COMMAND} verify {results.folder.name} {words}"
    table = small_scores(results)
    [found] = coverage_of_methods(results, table, ["staff", "staff-studio"], pruning_rates=[0.7], seed=0)
    assert [method["to_verify"] for method in found.as_json()["methods"]] == [0, count]
    assert found.notes == [
        f"STAFF (Studio) is provisional: {count} samples are not verified yet. Run: {command}"
    ]


def test_the_cost_of_a_selection_counts_only_what_it_verifies(results):
    stages = {"fine-tune": 3.0, "speculate": 2.0, "tune target": 1.0, "verify": 4.0}
    write_json(results.folder / "timings.json", stages)
    own, verified = count_verified(results), len(results.verified_ids)
    assert selection_seconds(results) == pytest.approx(6 + 4 * own / verified)
    assert selection_seconds(results, ratio="equal") == 5.0
    few = count_verified(results, strata=2)
    assert 0 < few < own
    assert selection_seconds(results, strata=2) == pytest.approx(6 + 4 * few / verified)


def test_an_entry_in_the_registry_is_all_that_a_new_method_needs(results, monkeypatch):
    def choose_first(table, *, pruning_rate, seed, beta):
        rows = np.flatnonzero(np.isfinite(table.effort))
        return rows[: coreset_size(len(rows), pruning_rate)] + int(beta > 0.2)

    added = Method(
        "first", "First", "Takes the first rows.", reads=("effort",), cuts=True, choose=choose_first
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
        if METHODS[name].lacks(table):
            with pytest.raises(RunError, match=r"reads embeddings, and run .* has none"):
                choose(name, results, table, pruning_rate=0.5, seed=0)
        elif METHODS[name].budget == "samples":
            assert len(choose(name, results, table, pruning_rate=0.5, seed=0)) == 96  # round(193 / 2)


def test_what_only_some_methods_read_is_said_to_be_missing_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    results = open_results(make_finished_run(tmp_path, ROWS).folder)
    table, name_of_run = small_scores(results), results.folder.name
    assert (table.trajectories.shape, table.ifd.shape) == ((ROWS, 0), (0,))
    commands = {
        "s2l": f"trajectory {name_of_run} --checkpoints 10",
        "superfiltering": f"verify {name_of_run} --score ifd",
        "oracle": "_kind",
    }
    for name, words in commands.items():
        with pytest.raises(RunError, match=words):
            choose(name, results, table, pruning_rate=0.5, seed=0)


def test_the_table_has_the_ifd_and_the_losses_at_checkpoints(results):
    table = small_scores(results)
    np.testing.assert_array_equal(table.ifd, results.scores_by("ifd"))
    assert (table.ifd[:-UNSCORABLE] < 1).all()
    assert (np.diff(table.trajectories[:-UNSCORABLE]) < 0).all()
    np.testing.assert_array_equal(table.trajectories[:, -1], table.loss)


def test_the_cost_of_what_only_some_methods_read(results):
    times = {"fine-tune": 4.0, "speculate": 3.0, "speculate without prompt": 1.0, "trajectories": 2.0}
    write_json(results.folder / "timings.json", times)
    assert column_seconds(results, "ifd") == 8.0
    assert column_seconds(results, "trajectories") == 4.0 + 3.0
    with pytest.raises(ValueError, match="column is 'loss'; allowed: trajectories, ifd"):
        column_seconds(results, "loss")


def test_embeddings_that_overflowed_in_float16_are_the_greatest_number(results):
    import pyarrow as pa
    import pyarrow.parquet as pq

    [path] = (results.folder / "embedding").glob("*.parquet")
    table = pq.read_table(path)
    vectors = table["vector"].combine_chunks().flatten().to_numpy().copy().reshape(-1, 16)
    vectors[0, :3] = [np.inf, -np.inf, np.nan]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 16)
    pq.write_table(pa.table({"row_id": table["row_id"], "vector": column}), path)
    forget(results.folder, "embedding")
    read = small_scores(results).embedding
    assert read[0, :3].tolist() == [65504, -65504, 0]
    assert len(choose("moderate", results, small_scores(results), pruning_rate=0.9, seed=0)) == 19


def test_a_method_is_either_a_selection_of_the_run_or_a_baseline():
    for given in ({}, {"settings": {}, "choose": select_random}):
        with pytest.raises(ValueError, match="method both has both or neither of choose and settings"):
            Method("both", "Both", "Does nothing.", **given)


def test_a_baseline_has_no_settings_of_staff():
    with pytest.raises(PlanError, match="method is 'd2', which has no settings of STAFF; allowed: staff, st"):
        settings_of("d2", {})


def test_labels_of_some_methods_read_as_a_list():
    assert labels_where(lambda method: method.cuts) == "CCS and D2"
    assert labels_where(lambda method: method.name in ("random", "grand", "el2n")) == "Random, GraNd and EL2N"
    assert labels_where(lambda method: method.name == "d2") == "D2"
