"""What the README and the docs tell people to type is there."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from benchmarks.pages import FOLDER, MODULES, text_of
from staff_engine.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GROUPS = ("use", "understand", "measured")
COMMANDS = typer.main.get_command(app).commands


def typed_commands():
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"(?:python -m staff_engine|staff-studio) ([a-z]+ [^`\n]*)", text):
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page):
    links = re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [
        (file, anchor)
        for file, anchor in links
        if anchor not in anchors_of(page.parent / file if file else page)
    ] == []


def anchors_of(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_guide_is_in_one_of_the_three_groups_and_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    guides = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert {guide.split("/")[1] for guide in guides} == set(GROUPS)
    assert [guide for guide in guides if f"]({guide})" not in readme] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_a_guide_opens_with_what_its_reader_can_do_afterwards(page):
    title, _, opening, *_ = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert opening.startswith(("After reading this page, you can ", "After reading this page, you know "))


@pytest.mark.parametrize("name", MODULES)
def test_a_measured_page_shows_the_measured_file(name):
    assert (FOLDER / f"{name}.md").read_text(encoding="utf-8") == text_of(name)


def test_every_measured_file_has_a_page():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(MODULES)


def test_the_readme_and_the_guide_say_what_the_experiment_found():
    import pandas as pd

    from benchmarks.evidence.page import at_equal_time, headline

    table = pd.read_parquet(FOLDER / "evidence.parquet")
    for path in (ROOT / "README.md", ROOT / "docs" / "use" / "evaluation.md"):
        text = " ".join(path.read_text(encoding="utf-8").split())
        assert headline(table) in text, path.name
        assert at_equal_time(table) in text, path.name


def test_the_guide_to_similarity_cites_the_measured_file():
    from benchmarks import similarity as bench_similarity

    facts = json.loads((FOLDER / "similarity.json").read_text())
    guide = " ".join((ROOT / "docs" / "use" / "similarity.md").read_text(encoding="utf-8").split())

    def means(task, state, name, score="effort, all"):
        """Means of the pairs of one family and of the others, as the guide writes them."""
        pairs = bench_similarity._pairs(facts, task, state, score)
        return [text.replace("-", "−") for text in bench_similarity._shortly(pairs, name)]

    same, others = means("docstrings", 0, "held")[:2]
    tuned, tuned_others = means("docstrings", 60, "held")[:2]
    assert (
        f"mean of {means('docstrings', 0, 'spearman')[0]} with an untouched target, and {same} with" in guide
    )
    assert f"with length held {same} compared with {others} for an untouched target" in guide
    assert f"{tuned} compared with {tuned_others} for one that is tuned on 60 rows" in guide
    assert "tuned on all {} compared with {}".format(*means("docstrings", 600, "spearman")) in guide
    for task, said in (
        ("chat", "a mean of {}, and {} with length held"),
        ("kazakh", "they have {}, and {} with length held"),
    ):
        assert said.format(*(means(task, 0, name)[0] for name in ("spearman", "held"))) in guide
    kazakh, chat = (means(task, 60, "held") for task in ("kazakh", "chat"))
    assert f"pairs of one family have {kazakh[0]} on kazakh and {chat[0]} on chat, and {tuned} on" in guide
    assert (
        f"other families have {kazakh[1]} on kazakh (same family {kazakh[0]}) and {chat[1]} on chat (same"
        f" family {chat[0]}). The nano of the same family is best for {kazakh[2]} targets on kazakh and for"
        f" {chat[2]} on chat"
    ) in guide
    kazakh, chat = (means(task, 60, "held", "effort, last_block") for task in ("kazakh", "chat"))
    said = "{} compared with {} on kazakh and {} compared with {} on chat"
    assert said.format(*kazakh[:2], *chat[:2]) in guide
    ratings = [
        pair["trust"]
        for task in ("kazakh", "chat")
        for pair in bench_similarity._pairs(facts, task, 0, "effort, all").values()
    ]
    assert f"{ratings.count('low')} of the {len(ratings)} pairs on kazakh and chat are rated low" in guide
    docstrings = bench_similarity._pairs(facts, "docstrings", 0, "effort, all").values()
    assert {pair["trust"] for pair in docstrings} == {
        "fair"
    } and "all 9 on docstrings are rated fair" in guide
    assert "high" not in ratings
    for task in ("kazakh", "chat", "docstrings"):
        assert f"from {means(task, 0, 'held')[0]} to {means(task, 60, 'held')[0]} on {task}" in guide
    lengths = [
        each["value"]
        for each in facts["tasks"]["chat"]["lengths"]
        if each["score"] in bench_similarity.EFFORTS
    ]
    assert f"−{-max(lengths):.2f} to −{-min(lengths):.2f}" in guide
