"""Which commit a name on the hub means, here without a hub."""

import pytest

from staff_engine.system import hub

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with one model, as the hub's client leaves it, and no hub."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--owner--model"
    for name, commit in (("main", COMMIT), ("v1", OTHER)):
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / name).write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text("{}")
    return tmp_path


def test_without_the_hub_the_commit_is_that_of_the_copy_on_this_machine(cache):
    assert hub.at_commit("owner/model") == f"owner/model@{COMMIT}"
    assert hub.at_commit("owner/model", "v1") == f"owner/model@{OTHER}"


def test_the_commit_is_known_of_a_repository_without_the_file(cache):
    assert hub.at_commit("owner/model", file="README.md") == f"owner/model@{COMMIT}"


def test_a_commit_stays_as_it_is(cache):
    assert hub.at_commit("owner/model", "c" * 40) == f"owner/model@{'c' * 40}"


@pytest.mark.parametrize("name", ["owner/none", "no/valid/name", "owner/mo del"])
def test_a_name_whose_commit_cannot_be_found_out_stays_as_it_is(cache, name):
    assert hub.at_commit(name) == name
    assert hub.at_commit(name, "v1") == f"{name}@v1"


def test_commits_are_short_where_people_see_them():
    assert hub.with_short_commits(f"a/b@{COMMIT}+c/d@{OTHER}") == f"a/b@{'a' * 7}+c/d@{'b' * 7}"
    assert hub.with_short_commits("a/b@main:config") == "a/b@main:config"


def test_a_copy_on_this_machine_is_one_of_a_certain_revision(cache):
    assert hub.in_hub_cache("owner/model") and hub.in_hub_cache("owner/model", revision=OTHER)
    assert not hub.in_hub_cache("owner/model", revision="d" * 40)
    assert not hub.in_hub_cache("owner/model", kind="dataset")
