"""What the README and the docs tell people to type is there."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from staff_engine.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDER = ROOT / "docs" / "measured"
MEASURED = {
    "app": "app",
    "baselines": "baselines",
    "evidence": "evidence.page",
    "overhead": "overhead",
    "run": "run",
    "scoring": "scoring_page",
    "selection": "selection",
    "similarity": "similarity",
}
"""The pages in docs/measured, and the module in benchmarks that writes each."""
COMMANDS = typer.main.get_command(app).commands


def typed_commands():
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"python -m staff_engine ([a-z]+ [^`\n]*)", text):
            yield pytest.param(shlex.split(line.partition("#")[0]), id=f"{page.name}: {line[:40]}")


@pytest.mark.parametrize("words", list(typed_commands()))
def test_a_command_that_is_shown_exists_with_its_options(words):
    options = {option for parameter in COMMANDS[words[0]].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}


def test_the_python_example_runs():
    [example] = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names = {}
    exec(example, names)
    assert len(names["selection"].indices) == 1000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name, bench", MEASURED.items())
def test_a_measured_page_shows_the_measured_file(name, bench):
    facts = json.loads((FOLDER / f"{name}.json").read_text())
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert page == importlib.import_module(f"benchmarks.{bench}").page(facts)


def test_every_measured_page_is_held_against_its_file():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(MEASURED)


@pytest.mark.parametrize("name", ["evidence_families", "evidence_rates"])
def test_a_picture_was_drawn_from_the_measured_file(name):
    from benchmarks.evidence import picture as evidence_picture

    facts = json.loads((FOLDER / "evidence.json").read_text())
    picture = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg") and evidence_picture.origin(facts) in picture


def test_the_guide_to_evidence_cites_the_measured_file():
    from benchmarks.evidence.page import arms_of, beside_random, median_reach, rates_of, tally, verdict

    found = json.loads((FOLDER / "evidence.json").read_text())["evaluations"]
    guide = " ".join((ROOT / "docs" / "evidence.md").read_text(encoding="utf-8").split())
    many = len(beside_random(found, "staff", "loss"))

    def told(arm, figure):
        better, _, worse = tally(verdict(mean, figure) for mean in beside_random(found, arm, figure))
        return better, worse

    (better, worse), answers = told("staff", "loss"), told("staff", "metric")
    assert better == answers[0] == 0 or "and nowhere better" not in guide
    assert f"in {many} comparisons of a task" in guide
    words = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert better == 0 and f"in none of {many} comparisons, and worse in {worse} ([by loss;" in words
    assert f"By loss it is better in {better} and worse in {worse} of {many}" in guide
    assert "by answers better in {}, worse in {}.".format(*answers) in guide
    tuned = (*told("STAFF, target tuned", "loss"), *told("STAFF, target tuned", "metric"))
    assert "target tuned first: {} and {} by loss, {} and {} by answers".format(*tuned) in guide
    assert many == sum(len(rates_of(each)) for each in found)
    assert f"{sum(len(each['cells']) for each in found)} fine-tunings in all" in guide
    ccs = (*told("ccs", "loss"), *told("ccs", "metric"))
    assert "than random in {} and worse in {}; by answers better in {}, worse in {}.".format(*ccs) in guide
    grand, el2n = told("grand", "loss"), told("el2n", "loss")
    assert f"GraNd is worse than random in {grand[1]} of {many}, EL2N in {el2n[1]}, and neither" in guide
    assert grand[0] == el2n[0] == 0
    d2 = (*told("d2", "loss"), *told("d2", "metric"))
    assert "by loss**: better in {}, worse in {}; by answers better in {}, worse in {}.".format(*d2) in guide
    assert not any(told(arm, "loss")[0] for arm in arms_of(found) if arm not in ("random", "d2"))
    assert f"reach further than {median_reach(found, 'loss'):.3f} nats" in guide


def test_the_guide_to_similarity_cites_the_measured_file():
    from benchmarks import similarity as bench_similarity

    facts = json.loads((FOLDER / "similarity.json").read_text())
    guide = (ROOT / "docs" / "similarity.md").read_text(encoding="utf-8").replace("\n  ", " ")

    def means(task, state):
        return bench_similarity._short(facts, task, state, "effort, all")[3:5]

    for state, said in ((0, "untouched target {} against {}"), (600, "tuned on all {} against {}")):
        assert said.format(*means("docstrings", state)) in guide
    assert "same family {}, others {}".format(*means("kazakh", 0)) in guide
    assert "({} against {})".format(*means("kazakh", 600)) in guide
    for task in ("docstrings", "kazakh", "chat"):
        assert f"from {means(task, 0)[0]} to {means(task, 60)[0]} on {task}" in guide.replace("\n", " ")
    lengths = [
        each["value"]
        for each in facts["tasks"]["chat"]["lengths"]
        if each["score"] in bench_similarity.EFFORTS
    ]
    assert f"−{-max(lengths):.2f} to −{-min(lengths):.2f}" in guide
