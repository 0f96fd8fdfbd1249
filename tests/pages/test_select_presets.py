"""Select: the presets, one at a time and side by side."""

import numpy as np
import pytest

from staff_engine.presets import PRESETS
from staff_engine.runs.composition import response_lengths
from staff_engine.runs.results import open_results
from tests.helpers.made_run import make_finished_run, write_alone
from tests.helpers.seen import figures, texts


def preset_control(app):
    [control] = [each for each in app.get("button_group") if each.label == "Preset"]
    return control


def test_a_preset_whose_score_is_missing_is_not_offered_but_its_score_is(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    assert "Studio" not in preset_control(app).options
    assert "The preset Studio needs the score IFD." in texts(app)
    assert app.button(key="compute_ifd")


def test_a_preset_sets_all_settings_at_once_and_is_recognised(open_page, finished_run):
    write_alone(finished_run)
    app = open_page("select", run=finished_run.id)
    assert preset_control(app).value == "custom"  # the made run has 10 strata
    assert "Studio" in preset_control(app).options
    preset_control(app).set_value("studio").run()
    assert not app.exception
    for name, value in PRESETS["studio"].settings.items():
        assert app.session_state[name] == value
    expected = open_results(finished_run.folder).select(preset="studio")
    assert figures(app)["Coreset"] == f"{len(expected.indices)}"
    assert figures(app)["Strata served"] == f"{(expected.budget > 0).sum()} of 20"
    assert preset_control(app).value == "studio"
    assert PRESETS["studio"].sentence in texts(app)


def test_a_setting_that_leaves_a_preset_makes_it_custom(open_page, finished_run):
    app = open_page("select", run=finished_run.id, strata="50")
    assert preset_control(app).value == "paper"
    app.number_input(key="strata").set_value(49).run()
    assert preset_control(app).value == "custom"


def test_two_presets_stand_side_by_side_when_wanted_and_lead_on_to_their_samples(open_page, finished_run):
    write_alone(finished_run)
    app = open_page("select", run=finished_run.id)
    assert not app.dataframe  # they are not computed before the expander is opened
    app.session_state[f"select_presets_{finished_run.id}"] = True
    app.run()
    assert not app.exception
    results = open_results(finished_run.folder)
    paper, studio = (results.select(**PRESETS[name].settings) for name in ("paper", "studio"))
    shared = len(np.intersect1d(paper.indices, studio.indices))
    assert f"Both keep {len(paper.indices)} samples" in texts(app)
    assert f"{shared} of them are in both" in texts(app)
    frame = app.dataframe[0].value
    assert frame["Preset"].tolist() == ["Paper", "Studio"]
    shares = [response_lengths(results, each.indices).token_share for each in (paper, studio)]
    assert frame["Response tokens"].tolist() == pytest.approx(shares)
    app.button(key="select_presets_more").click().run()
    assert app.title[0].value == "Compare"
    assert [app.selectbox(key=key).value for key in ("compare_a", "compare_b")] == [
        "preset:paper",
        "preset:studio",
    ]
    assert figures(app)["In both"] == f"{shared}"


def test_in_the_demo_two_presets_are_shown_at_once(open_page, finished_run, monkeypatch):
    from pages.parts.select import presets

    monkeypatch.setattr(presets, "is_demo", lambda plan: True)
    write_alone(finished_run)
    app = open_page("select", run=finished_run.id)
    assert not app.exception
    assert app.dataframe[0].value["Preset"].tolist() == ["Paper", "Studio"]


def test_side_by_side_the_presets_say_what_they_keep_of_each_kind_of_row(
    open_page, home, tmp_path, monkeypatch
):
    from pages.parts.select import presets

    monkeypatch.setattr(presets, "is_demo", lambda plan: True)
    run = make_finished_run(tmp_path, kinds=True)
    write_alone(run)
    said = texts(open_page("select", run=run.id)).replace("\\", "")
    results = open_results(run.folder)
    for name in ("paper", "studio"):
        swapped = (results.select(preset=name).indices % 4 == 0).mean()
        assert f"**{PRESETS[name].label}**: Kinds of rows" in said
        assert f"swapped {swapped:.0%} (in the data 25%)" in said
