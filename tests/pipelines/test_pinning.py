"""A run stays at the commits that its names on the hub meant when it started."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from staff_engine.data import sources as data_sources
from staff_engine.models import sources
from staff_engine.pipelines.pinning import pin
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run, read_record
from staff_engine.similarity_plan import SimilarityPlan
from tests.helpers.stand_in_hub import stand_in_hub
from tests.helpers.tiny import save_model
from tests.helpers.tiny_run import make_sources

PLAN = {
    "dataset": "me/data:en", "small": "me/small", "target": "me/base@v2+me/adapter", "apart_from": "me/held",
}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sources, "hub_answers", lambda: True)
    for module in (sources, data_sources):
        monkeypatch.setattr(module, "at_commit", _made_up)
    return tmp_path


def _made_up(name, revision=None, *, file="config.json", kind="model"):
    """A commit that says what was asked."""
    return f"{name}@{revision or 'main'}-{kind}-{file.partition('.')[0]}"


def test_plan_json_gets_the_commits_of_models_adapters_and_data(home):
    run = create_run(Plan.make(**PLAN))
    pin(run.folder)
    plan = read_record(run).plan
    assert (plan.small, plan.target) == (
        "me/small@main-model-config", "me/base@v2-model-config+me/adapter@main-model-adapter_config",
    )  # fmt: skip
    assert (plan.dataset, plan.apart_from) == (
        "me/data@main-dataset-README:en", "me/held@main-dataset-README",
    )  # fmt: skip


def test_a_similarity_run_gets_those_of_all_its_models(home):
    compared = SimilarityPlan.make(smalls=("me/a", "builtin:llama-nano"), targets=("me/b",))
    run = create_run(Plan.make(dataset="builtin:chat", small="me/a", target="me/b"), similarity=compared)
    pin(run.folder, read_record(run).similarity)
    record = read_record(run)
    assert record.similarity.smalls == ("me/a@main-model-config", "builtin:llama-nano")
    assert record.similarity.targets == ("me/b@main-model-config",)
    assert (record.plan.small, record.plan.target) == ("me/a@main-model-config", "me/b@main-model-config")


def test_a_run_that_has_read_its_data_stays_as_it_is(home):
    run = create_run(Plan.make(**PLAN))
    (run.folder / "dataset").mkdir()
    pin(run.folder)
    assert read_record(run).plan == Plan.make(**PLAN)


def test_what_is_on_this_machine_has_no_commit(home):
    made = make_sources(home)
    run = create_run(Plan.make(**made))
    before = (run.folder / "plan.json").read_bytes()
    pin(run.folder)
    assert (run.folder / "plan.json").read_bytes() == before
    assert data_sources.pinned_source("builtin:chat?repeated=0.1") == "builtin:chat?repeated=0.1"
    assert data_sources.pinned_source("s3://bucket/a.jsonl") == "s3://bucket/a.jsonl"


def test_an_adapter_folder_with_a_base_on_the_hub_is_pinned_by_its_base(home):
    folder = home / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "me/base", "revision": "v3"}')
    assert sources.pinned(str(folder)) == f"me/base@v3-model-config+{folder}"


def test_files_of_a_data_set_at_an_address_on_the_hub_are_pinned_too(home):
    pinned = data_sources.pinned_source
    assert pinned("hf://datasets/me/d/a/b.jsonl") == "hf://datasets/me/d@main-dataset-README/a/b.jsonl"
    assert pinned("hf://datasets/me/d@v1/b.jsonl") == "hf://datasets/me/d@v1-dataset-README/b.jsonl"


@pytest.mark.long
def test_a_run_that_goes_on_after_its_repositories_changed_uses_what_it_began_with(tmp_path):
    make_sources(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    _write_rows(data / "train.jsonl", "abc")
    with stand_in_hub() as hub:
        environment = {**os.environ, **hub.environment(tmp_path / "hf"), "STAFF_HOME": str(tmp_path / "home")}

        def staff(*words):
            command = [sys.executable, "-m", "staff_engine", *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        began = [hub.push("me/small", tmp_path / "small"), hub.push("me/target", tmp_path / "target")]
        began.append(hub.push("datasets/me/data", data))
        staff(
            "run", "--dataset", "me/data", "--small", "me/small", "--target", "me/target", "--strata", "3",
            "--epochs", "1", "--device", "cpu", "--dtype", "float32", "--out", str(tmp_path / "one.jsonl"),
        )  # fmt: skip
        [folder] = [path for path in (tmp_path / "home" / "runs").iterdir() if path.is_dir()]
        plan = json.loads((folder / "plan.json").read_text())["plan"]
        names = [plan[name].partition("@")[2] for name in ("small", "target", "dataset")]
        assert names == began

        save_model(tmp_path / "small", seed=7)
        _write_rows(data / "train.jsonl", "xyz")
        changed = [hub.push("me/small", tmp_path / "small"), hub.push("datasets/me/data", data)]
        assert not set(changed) & set(began)
        before = _efforts(folder)
        for name in ("speculative", "adapter", "dataset"):
            for path in sorted((folder / name).iterdir()):
                path.write_bytes(b"")
        hub.asked.clear()
        staff("resume", folder.name)
        assert not {revision for revision, _ in hub.asked} & {"main", *changed}
        staff("export", folder.name, "--out", str(tmp_path / "two.jsonl"))
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert _efforts(folder) == before


def _efforts(folder):
    table = pq.read_table(folder / "speculative" / "part-00000.parquet", columns=["row_id", "effort"])
    return table.to_pylist()


def _write_rows(path, letters):
    rows = (
        {"prompt": f"{letters} " * (1 + row % 5), "completion": letters[row % 3] * (1 + row % 9)}
        for row in range(40)
    )
    path.write_text("\n".join(map(json.dumps, rows)))
