from made_run import make_finished_run

from staff_engine.cost import Cost, run_cost
from staff_engine.files import write_json
from staff_engine.results import open_results


def test_the_cost_is_that_of_the_models_stages(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    results = open_results(make_finished_run(tmp_path).folder)
    cost = run_cost(results)
    assert cost.staff == 3 * 1.5
    assert cost.full == results.summary["full_target_seconds_estimate"]


def test_tuning_the_target_is_part_of_the_cost_and_not_of_what_it_is_held_against(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    results = open_results(make_finished_run(tmp_path).folder)
    before = run_cost(results)
    write_json(results.folder / "timings.json", {**results.timings, "tune target": 4.0})
    after = run_cost(open_results(results.folder))
    assert (after.staff, after.full) == (before.staff + 4.0, before.full)


def test_what_is_saved_is_below_zero_where_more_was_spent():
    assert Cost(staff=30, full=40).saved == 0.25
    assert Cost(staff=60, full=40).saved == -0.5
    assert Cost(staff=60, full=None).saved is None
