import pytest

from staff_engine.pipelines.similarity.report import REPORT_FILE, open_similarity
from staff_engine.runs import control
from staff_engine.runs.status import CANCEL_FILE, Status, save_status
from staff_engine.system.files import write_json
from tests.helpers.made_evaluation import make_evaluation, write_held_out
from tests.helpers.made_similarity import alive, make_finished_similarity, make_similarity, older
from tests.helpers.seen import query_of, texts, unescaped

GONE = {"pid": 2**22 + 1, "pid_started": 1.0}


def commands(app):
    return [code.value for code in app.code if "staff_engine similarity" in code.value]


def choose_data(open_page, plan):
    """The page after data was chosen on the Data page."""
    app = open_page("home")
    app.session_state.new_plan = plan
    app.run()
    return app.switch_page("pages/family.py").run()


@pytest.fixture
def no_process(monkeypatch):
    """Similarity runs are started without a process of theirs: this one stands in."""
    from pages.parts.similarity import form

    def start(run, **_):
        save_status(run.folder, Status(**alive()))

    monkeypatch.setattr(form, "start", start)
    monkeypatch.setattr(control, "start", start)


def test_without_a_similarity_run_the_page_says_what_one_does_and_offers_it(open_page):
    app = open_page("family")
    assert not app.exception
    assert "There is no similarity run yet" in texts(app)
    [command] = commands(app)
    assert "--dataset builtin:docstrings" in command
    assert "--small builtin:llama-nano" in command
    assert "--target builtin:llama-mini" in command
    assert "family" not in query_of(app)


def test_a_similarity_run_is_started_as_the_form_says(open_page, no_process):
    app = open_page("family")
    app.multiselect(key="family_new_smalls").set_value(["builtin:llama-nano", "builtin:llama-mini"]).run()
    app.selectbox(key="family_new_dataset").set_value("builtin:chat").run()
    app.number_input(key="family_new_sample").set_value(40).run()
    app.number_input(key="family_new_tune_target").set_value(20).run()
    app.number_input(key="family_new_epochs").set_value(1).run()
    app.number_input(key="family_new_limit").set_value(80).run()
    app.text_input(key="family_new_name").set_value("my models").run()
    [command] = commands(app)
    assert "--small builtin:llama-mini" in command and "--tune-target 20" in command
    app.button(key="family_start").click().run()
    assert not app.exception
    [run] = control.list_runs()
    record = control.read_record(run)
    assert record.kind == "similarity"
    assert record.name == "my models"
    assert record.similarity.smalls == ("builtin:llama-nano", "builtin:llama-mini")
    assert record.similarity.sample == 40
    plan = record.plan
    assert (plan.dataset, plan.tune_target, plan.epochs, plan.limit) == ("builtin:chat", 20, 1, 80)
    assert app.session_state.family == run.id
    assert query_of(app) == {"family": run.id}
    assert "The run continues in the background" in texts(
        app
    ) or "This one starts when that run ends" in texts(app)


def test_names_of_ones_own_are_taken(open_page):
    app = open_page("family")
    app.session_state.family_new_smalls = ["me/my-model"]
    app.session_state.family_new_targets = ["me/big", "me/bigger"]
    app.run()
    assert not app.exception
    [command] = commands(app)
    assert "--small me/my-model" in command
    assert "--target me/bigger" in command


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("smalls", ["builtin:nothing"], "Unknown built-in model 'builtin\\:nothing'"),
        ("targets", ["/nowhere/at/all"], "'/nowhere/at/all' does not exist"),
        ("smalls", [], "Choose a small model"),
        ("targets", [], "Choose a target"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_can_be_started(open_page, key, value, said):
    app = open_page("family")
    app.session_state[f"family_new_{key}"] = value
    app.run()
    assert not app.exception
    assert said in texts(app)
    assert not [button for button in app.button if button.key == "family_start"]


def test_data_that_is_not_there_is_said(open_page):
    app = choose_data(open_page, {"dataset": "nowhere.jsonl"})
    assert not app.exception
    assert "Data file 'nowhere.jsonl' does not exist" in texts(app)
    assert not [button for button in app.button if button.key == "family_start"]


def test_a_model_that_the_hub_would_have_is_looked_for_when_it_starts(open_page, monkeypatch):
    from staff_engine.models import sources

    monkeypatch.setattr(sources, "in_hub_cache", lambda *_, **__: False)
    monkeypatch.setattr(sources, "hub_answers", lambda: False)
    app = open_page("family")
    app.session_state.family_new_smalls = ["me/my-model"]
    app.run()
    app.button(key="family_start").click().run()
    assert not app.exception
    assert "the hub cannot be reached" in texts(app)
    assert not control.list_runs()


def test_the_data_of_the_data_page_is_compared_as_it_is_read_there(open_page, no_process, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "a", "a": "b"}\n' * 20)
    app = choose_data(open_page, {"dataset": str(path), "prompt_column": "q", "response_column": "a"})
    assert not app.exception
    assert "Read as on the Data page" in texts(app)
    app.button(key="family_start").click().run()
    [run] = control.list_runs()
    assert control.read_record(run).plan.prompt_column == "q"


@pytest.mark.parametrize(
    ("state", "button"),
    [
        ("queued", "family_cancel"),
        ("running", "family_cancel"),
        ("failed", "family_resume"),
        ("cancelled", "family_resume"),
        ("interrupted", "family_resume"),
    ],
)
def test_every_state_says_the_next_step(open_page, home, state, button):
    status = alive() if state in ("queued", "running") else GONE
    recorded = "running" if state == "interrupted" else state
    message = "the disk is full" if state == "failed" else ""
    run = make_similarity(state=recorded, message=message, **status)
    app = open_page("family", family=run.id)
    assert not app.exception
    from pages.parts.similarity.live import NEXT

    said = texts(app)
    assert NEXT[state] in said
    assert "builtin\\:docstrings · near, far for target · 80 samples" in said
    assert "Stage 6 of 15." in said
    assert button in {each.key for each in app.button}
    assert ("The disk is full" in said) == (state == "failed")
    assert app.session_state.family == run.id


def test_a_similarity_run_at_work_shows_its_stages_and_the_time_left(open_page, home):
    make_similarity(state="running", **alive())
    app = open_page("family")
    said = [progress.proto.text for progress in app.get("progress")]
    assert "Score near, untouched · 40 of 160 samples, 20 per second, 6.0 s left" in said
    assert said[1] == "Read the data · 1.0 s"
    assert said[-1] == ":gray[Compare the models]"


def test_cancel_asks_the_process_to_stop(open_page, home):
    run = make_similarity(state="running", **alive())
    app = open_page("family")
    app.button(key="family_cancel").click().run()
    assert not app.exception
    assert (run.folder / CANCEL_FILE).exists()


def test_resume_lets_it_go_on(open_page, home, no_process):
    run = make_similarity(state="cancelled", **GONE)
    app = open_page("family")
    app.button(key="family_resume").click().run()
    assert not app.exception
    assert control.read_status(run).state == "queued"
    assert "family_cancel" in {each.key for each in app.button}


def test_a_damaged_folder_is_said(open_page, home):
    run = make_similarity(state="running", **alive())
    (run.folder / "plan.json").write_text("{")
    app = open_page("family", family=run.id)
    assert not app.exception
    assert "Restore its plan.json, or remove its folder yourself" in texts(app)
    assert "is damaged" in app.error[0].value


def test_a_damaged_report_is_a_sentence(open_page, similarity):
    (similarity.folder / REPORT_FILE).write_text("{")
    app = open_page("family")
    assert not app.exception
    assert f"{REPORT_FILE} is damaged" in app.error[0].value.replace("\\", "")


def test_a_finished_similarity_run_says_first_who_may_speak_for_whom(open_page, similarity):
    app = open_page("family")
    assert not app.exception
    assert query_of(app) == {"family": similarity.id}
    said = texts(app)
    assert "- near can be used for target\\: reliability is high \\(rank correlation" in said
    assert "with response length held\\)." in said
    assert [metric.label for metric in app.metric] == ["Rank correlation, response length held"] * 2
    badges = [each.value for each in app.markdown if "reliability" in each.value and "badge" in each.value]
    assert any(":green-badge[:material/check_circle: high reliability]" in badge for badge in badges)
    assert len(app.get("plotly_chart")) == 1 + 1 + 6 + 3
    assert "favours short answers" in said
    [made] = [command for command in commands(app) if "--small near" in command]
    assert "--tune-target 12" in made and "--limit 600" in made


def test_the_other_score_and_the_tuned_target_are_a_choice_that_the_link_keeps(open_page, similarity):
    asked = {"family": similarity.id, "family_score": "last_block", "family_target": "fine-tuned"}
    app = open_page("family", **asked)
    assert not app.exception
    assert query_of(app) == asked
    assert "Hollow dots are small models before fine-tuning." not in texts(app)
    app.segmented_control(key="family_score").set_value("loss").run()
    assert not app.exception
    assert query_of(app)["family_score"] == "loss"
    assert "There is no rating by loss" in texts(app)
    assert not [button for button in app.button if "family_plan_" in button.key]
    assert not [each for each in app.markdown if "-badge[" in each.value]


def test_the_rank_correlation_is_shown_with_length_held_or_without(open_page, similarity):
    app = open_page("family")
    assert "Rank correlations with response length held of each pair" in texts(app)
    held = app.metric[0].value
    app.segmented_control(key="family_length").set_value("plain").run()
    assert not app.exception
    assert "Rank correlations of each pair" in texts(app)
    assert query_of(app) == {"family": similarity.id, "family_length": "plain"}
    assert app.metric[0].value == held  # the rating rests on it in any case


def test_a_run_of_an_older_version_says_what_it_lacks_and_measures_it(open_page, similarity, no_process):
    report = older(open_similarity(similarity.folder).report)
    write_json(similarity.folder / REPORT_FILE, report.as_json())
    app = open_page("family")
    assert not app.exception
    assert "made by an older version, which did not hold response length constant" in texts(app)
    assert [metric.label for metric in app.metric] == ["Rank correlation"] * 2
    assert "family_length" not in {each.key for each in app.segmented_control}
    app.button(key="family_hold").click().run()
    assert not app.exception
    assert control.read_status(similarity).state == "queued"


def test_of_several_targets_one_is_looked_at_as_the_link_says(open_page, home):
    run = make_finished_similarity(targets=("big", "bigger"))

    def shown(app):
        return [
            each.value.partition("for ")[2] for each in app.markdown if each.value.startswith("**near** for")
        ]

    app = open_page("family", family=run.id)
    assert not app.exception
    assert shown(app) == ["big"]
    assert len(app.metric) == 2
    app.segmented_control(key="family_for").set_value("bigger").run()
    assert shown(app) == ["bigger"]
    assert query_of(app)["family_for"] == "bigger"
    app = open_page("family", family=run.id, family_for="bigger")
    assert shown(app) == ["bigger"]
    app = open_page("family", family=run.id, family_for="nonsense")
    assert not app.exception
    assert shown(app) == ["big"]


def test_of_several_targets_every_one_is_concluded_on_in_a_line_of_its_own(open_page, home):
    make_finished_similarity(targets=("big", "bigger"))
    said = texts(open_page("family"))
    assert "- near can be used for big\\: reliability is high" in said
    assert "- near can be used for bigger\\: reliability is high" in said


def test_low_trust_comes_with_advice_and_offers_no_plan(open_page, home):
    make_finished_similarity(noise=(0.2, 30))
    app = open_page("family")
    assert not app.exception
    assert any(":red-badge[:material/cancel: low reliability]" in each.value for each in app.markdown)
    assert "far should not be used for target" in texts(app)
    assert "- Use another small model of the target's family" in app.warning[0].value
    assert [button.key for button in app.button if "family_plan_" in button.key] == ["family_plan_1"]


def test_a_target_that_was_not_tuned_is_shown_untouched(open_page, home):
    run = make_finished_similarity(tune=0)
    app = open_page("family", family=run.id, family_target="fine-tuned")
    assert not app.exception
    assert "The untouched target is shown" in texts(app)
    assert "family_target" not in {each.key for each in app.segmented_control}
    assert len(app.metric) == 2


def test_a_run_is_planned_with_the_pair_and_the_state_of_the_target(open_page, similarity):
    app = open_page("family", family_target="fine-tuned")
    app.button(key="family_plan_0").click().run()
    assert app.title[0].value == "New run"
    plan = app.session_state.new_plan
    assert (plan["small"], plan["target"], plan["tune_target"]) == ("near", "target", 12)
    assert plan["dataset"] == "builtin:docstrings"


def test_a_similarity_run_can_be_taken_over_into_the_form(open_page, similarity):
    app = open_page("family")
    app.button(key="family_again").click().run()
    assert not app.exception
    assert app.multiselect(key="family_new_smalls").value == ["near", "far"]
    assert app.number_input(key="family_new_sample").value == 80
    assert len(set(commands(app))) == 1


def test_the_newest_similarity_run_is_shown_and_others_can_be_picked(open_page, similarity):
    other = make_finished_similarity("other", smalls=("near",))
    app = open_page("family")
    picker = app.selectbox(key="family")
    assert set(picker.options) == {"alike", "other"}
    newest = max(similarity.id, other.id)
    assert app.session_state.family == newest
    picker.set_value(similarity.id).run()
    assert not app.exception
    assert query_of(app) == {"family": similarity.id}
    assert len(app.metric) == 2


@pytest.mark.parametrize("said", ["alike", "latest"])
def test_a_link_may_name_the_similarity_run_as_people_do(open_page, similarity, finished_run, said):
    app = open_page("family", family=said)
    assert not app.exception
    assert app.session_state.family == similarity.id
    assert not app.warning


def test_what_a_link_asks_for_and_is_no_similarity_run_is_refused(open_page, similarity, finished_run):
    for asked, why in ((finished_run.id, "it selects a coreset"), ("gone", "does not exist")):
        app = open_page("family", family=asked)
        assert not app.exception
        assert any(asked in warning.value and why in warning.value for warning in app.warning)
        assert app.session_state.family == similarity.id


def test_an_evaluation_is_no_similarity_run(open_page, similarity, finished_run, tmp_path):
    evaluation = make_evaluation(finished_run, write_held_out(tmp_path / "held_out.jsonl"))
    app = open_page("family", family=evaluation.id)
    assert not app.exception
    [warning] = app.warning
    assert "it evaluates coresets of another run; allowed: a similarity run" in unescaped(warning.value)
    assert app.session_state.family == similarity.id


@pytest.mark.parametrize(("name", "value"), [("family_score", "best"), ("family_target", "both")])
def test_a_choice_that_there_is_not_is_refused(open_page, similarity, name, value):
    app = open_page("family", **{"family": similarity.id, name: value})
    assert not app.exception
    assert any(repr(value) in warning.value for warning in app.warning)
    assert query_of(app) == {"family": similarity.id}


def test_a_similarity_run_that_is_deleted_meanwhile_is_said(open_page, similarity):
    app = open_page("family")
    control.delete(similarity)
    app.run()
    assert not app.exception
    assert any("does not exist" in warning.value for warning in app.warning)
    assert "There is no similarity run yet" in texts(app)
