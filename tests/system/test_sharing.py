"""What a server for several people reads and writes, and how much of it belongs to each of them."""

import pytest

from staff_engine.data.locating import absolute_source, files_of
from staff_engine.data.sources import find_source, keep_upload
from staff_engine.errors import PlanError, StaffError
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.models.loading import load_tokenizer
from staff_engine.models.sources import find_model
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run, find_run, list_runs
from staff_engine.runs.folders import Delivery
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.home import common_home, home, homes, in_home, user_home
from staff_engine.system.sharing import check_active, check_disk, check_place, is_shared

PLAN = {"dataset": "builtin:docstrings", "small": "builtin:llama-nano", "target": "builtin:llama-mini"}


@pytest.fixture(autouse=True)
def shared(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STAFF_SHARED", "1")
    user_home("ada").mkdir(parents=True)
    with in_home(user_home("ada")):
        yield


@pytest.fixture
def foreign(tmp_path):
    """A file that the server could read, in a folder that it is in."""
    path = tmp_path / "secret.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name",
    [
        "builtin:docstrings", "builtin:kazakh?swapped=0.25", "gpt2", "openai/gsm8k", "openai/gsm8k:main",
        "openai/gsm8k@v1.0:main", "org/model@v1.0", "org/model+org/adapter", "teknium/OpenHermes-2.5",
        "builtin:llama-nano+org/adapter",
    ],
)  # fmt: skip
def test_names_of_the_hub_and_built_in_ones_are_allowed(name):
    check_place(name)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "~/data.jsonl", "./data.jsonl", "../x", "a/b/c", "s3://bucket/x", "file:///etc/passwd",
        "hf://x/y", "https://169.254.169.254/latest", "org/model+/etc", "org/..", "assets/models", "tests",
        "data*.jsonl", "", "a\0b", "x" * 5000, "org/model@../../x", "C:\\x", "~root", "tests@v1",
        "assets/models:main",
    ],
)  # fmt: skip
def test_paths_and_addresses_are_refused(name):
    with pytest.raises(PlanError, match="a path or an address, which this shared server does not read"):
        check_place(name)


def test_whatever_reads_a_path_refuses_it(foreign):
    path = str(foreign)
    for read in (files_of, find_source, absolute_source, find_model):
        with pytest.raises(PlanError, match=r"secret\.jsonl"):
            read(path)
    with pytest.raises(PlanError, match=r"secret\.jsonl"):
        load_tokenizer("builtin:llama-nano", path)


@pytest.mark.parametrize("field", ["dataset", "apart_from", "small", "target", "chat_template"])
def test_no_run_is_made_of_a_plan_with_a_path(foreign, field):
    with pytest.raises(PlanError, match=r"secret\.jsonl"):
        create_run(Plan.make(**{**PLAN, field: str(foreign)}))
    assert list_runs() == []


def test_no_run_is_made_of_scores_at_a_path(foreign):
    with pytest.raises(PlanError, match=r"secret\.jsonl"):
        create_run(
            Plan.make(dataset=PLAN["dataset"], target=PLAN["target"], scores=str(foreign), score="own:x")
        )
    assert list_runs() == []


def test_no_run_of_another_kind_is_made_with_a_path(foreign):
    path, plan = str(foreign), Plan.make(**PLAN)
    own = str(home() / "runs" / "x")
    given = {"methods": ("random",), "pruning_rates": (0.9,), "source": own}
    for more in (
        {"similarity": SimilarityPlan(smalls=(path,), targets=("builtin:llama-mini",))},
        {"similarity": SimilarityPlan(smalls=("builtin:llama-nano",), targets=(path,))},
        {"evaluation": EvaluationPlan.make(**given, held_out=path)},
        {"evaluation": EvaluationPlan.make(**given, also={"b": str(user_home("bob") / "runs" / "x")})},
        {"evaluation": EvaluationPlan.make(**{**given, "source": str(user_home("bob") / "runs" / "x")})},
        {"delivery": Delivery(out=foreign)},
    ):
        with pytest.raises(PlanError, match="this shared server"):
            create_run(plan, **more)
    assert list_runs() == []


def test_an_upload_is_read_by_its_owner_only():
    path = keep_upload("mine.jsonl", b'{"prompt": "a", "response": "b"}\n')
    assert files_of(str(path)) == [path]
    assert create_run(Plan.make(**{**PLAN, "dataset": str(path)})) in list_runs()
    with in_home(user_home("bob")):
        assert list_runs() == []
        for read in (files_of, find_source):
            with pytest.raises(PlanError, match="does not read"):
                read(str(path))


def test_a_run_of_somebody_else_is_not_found_by_id_or_by_folder():
    run = create_run(Plan.make(**PLAN), name="of ada")
    assert find_run(run.id) == run
    with in_home(user_home("bob")):
        for text in (run.id, "of ada", "latest", str(run.folder), run.id[:10]):
            with pytest.raises(StaffError, match="does not exist; there are none") as found:
                find_run(text)
            assert "of ada" not in str(found.value).partition(";")[2]


def test_without_the_variable_paths_are_read(foreign, monkeypatch):
    monkeypatch.delenv("STAFF_SHARED")
    assert not is_shared()
    assert files_of(str(foreign)) == [foreign]
    monkeypatch.setenv("STAFF_SHARED", "yes")
    with pytest.raises(PlanError, match="STAFF_SHARED is 'yes'; allowed: 0 and 1"):
        is_shared()


def test_the_homes_are_the_servers_own_and_those_of_its_users(tmp_path, monkeypatch):
    assert home() == user_home("ada") == tmp_path / "home" / "users" / "ada"
    assert common_home() == tmp_path / "home"
    assert homes() == [common_home(), user_home("ada")]
    monkeypatch.setenv("STAFF_COMMON_HOME", str(tmp_path / "other"))
    assert common_home() == tmp_path / "other", "the process of a run has the home of its user in STAFF_HOME"


def test_a_full_home_takes_no_more(monkeypatch):
    monkeypatch.setenv("STAFF_QUOTA_MB", "1")
    check_disk()
    keep_upload("large.jsonl", b"x" * 700_000)
    with pytest.raises(StaffError, match="your files take 700 kB, and 400 kB more are needed; allowed: 1"):
        keep_upload("more.jsonl", b"y" * 400_000)
    keep_upload("more.jsonl", b"y" * 300_000)
    with pytest.raises(StaffError, match=r"allowed: 1(\.0)? MB; delete runs that you do not need"):
        check_disk(1)
    with in_home(user_home("bob")):
        check_disk(900_000)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("STAFF_QUOTA_RUNS", text)
    with pytest.raises(PlanError, match=f"STAFF_QUOTA_RUNS is '{text}'; allowed: a whole number from 1"):
        check_active(0)
