import json

import pytest

from staff_engine.errors import PlanError, RunError
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.runs.saved_selections import (
    delete_saved,
    find_saved,
    list_saved,
    rename_saved,
    save_selection,
)

SETTINGS = {name: Plan.model_fields[name].default for name in SELECTION_FIELDS}


def test_a_selection_comes_back_as_it_was_kept_the_newest_first(tmp_path):
    first = save_selection(tmp_path, "  The first  one ", SETTINGS | {"strata": 20})
    second = save_selection(tmp_path, "Second", SETTINGS)
    assert list_saved(tmp_path) == [second, first]
    assert find_saved(tmp_path, "the-first-one") == first
    assert first.name == "The first one"
    assert first.settings == SETTINGS | {"strata": 20}


def test_two_of_one_name_have_ids_of_their_own(tmp_path):
    ids = [save_selection(tmp_path, name, SETTINGS).id for name in ("Best", "best!", "current", "数据")]
    assert ids == ["best", "best-2", "current-2", "selection"]


def test_one_can_be_renamed_and_forgotten(tmp_path):
    kept = save_selection(tmp_path, "old", SETTINGS)
    assert rename_saved(tmp_path, kept.id, "new").name == "new"
    assert [saved.name for saved in list_saved(tmp_path)] == ["new"]
    delete_saved(tmp_path, kept.id)
    assert list_saved(tmp_path) == []
    with pytest.raises(RunError, match="'old' does not exist"):
        delete_saved(tmp_path, kept.id)


@pytest.mark.parametrize("name", ["", "  ", "x" * 61])
def test_a_blank_or_endless_name_is_refused(tmp_path, name):
    with pytest.raises(RunError, match="allowed: 1 to 60 characters"):
        save_selection(tmp_path, name, SETTINGS)


def test_a_setting_that_is_not_allowed_is_not_kept(tmp_path):
    with pytest.raises(PlanError, match="strata is 0"):
        save_selection(tmp_path, "none", SETTINGS | {"strata": 0})
    assert list_saved(tmp_path) == []


def test_a_damaged_file_is_left_out_and_an_id_is_no_path(tmp_path):
    kept = save_selection(tmp_path, "good", SETTINGS)
    (tmp_path / "selections" / "bad.json").write_text("{")
    assert list_saved(tmp_path) == [kept]
    with pytest.raises(RunError, match="does not exist"):
        find_saved(tmp_path, "../plan")


def test_a_selection_of_an_older_version_gets_the_settings_that_came_later(tmp_path):
    saved = save_selection(tmp_path, "old", {"pruning_rate": 0.5})
    path = tmp_path / "selections" / f"{saved.id}.json"
    content = json.loads(path.read_text())
    for name in ("near_duplicates", "drop_by", "ratio"):
        del content["settings"][name]
    path.write_text(json.dumps(content))
    [read] = list_saved(tmp_path)
    assert read.settings == saved.settings and read.settings["near_duplicates"] == 0
