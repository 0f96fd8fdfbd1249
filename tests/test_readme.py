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


@pytest.mark.parametrize("name", ["evidence_families", "evidence_rates"])
def test_a_picture_was_drawn_from_the_measured_file(name):
    from benchmarks.evidence import picture as evidence_picture

    facts = json.loads((FOLDER / "evidence.json").read_text())
    picture = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg") and evidence_picture.origin(facts) in picture


def test_the_guide_to_evidence_cites_the_measured_file():
    from benchmarks.evidence.page import arms_of, beside_random, median_reach, rates_of, tally, verdict

    found = json.loads((FOLDER / "evidence.json").read_text())["evaluations"]
    guide = " ".join((ROOT / "docs" / "use" / "evaluation.md").read_text(encoding="utf-8").split())
    many = len(beside_random(found, "staff", "loss"))

    def told(arm, figure):
        better, _, worse = tally(verdict(mean, figure) for mean in beside_random(found, arm, figure))
        return better, worse

    (better, worse), answers = told("staff", "loss"), told("staff", "metric")
    assert better == answers[0] == 0 and "and was never significantly better" in guide
    assert f"{many} cases of a task" in guide
    words = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert better == 0 and f"in none of {many} cases and worse in {worse}, [by held-out loss]" in words
    assert f"By loss, it is better in {better} and worse in {worse} of {many} cases." in guide
    assert "By answers, it is better in {} and worse in {}. With a tuned".format(*answers) in guide
    tuned = (*told("STAFF, target tuned", "loss"), *told("STAFF, target tuned", "metric"))
    assert "tuned target, the counts are {} and {} by loss, and {} and {} by answers".format(*tuned) in guide
    assert many == sum(len(rates_of(each)) for each in found)
    assert f"{sum(len(each['cells']) for each in found)} fine-tunings in total" in guide
    ccs = (*told("ccs", "loss"), *told("ccs", "metric"))
    said = "than random in {} and worse in {} cases. By answers, it is better in {} and worse in {}."
    assert said.format(*ccs) in guide
    grand, el2n = told("grand", "loss"), told("el2n", "loss")
    said = f"GraNd is worse than random in {grand[1]} of {many} cases and EL2N in {el2n[1]}. Neither is ever"
    assert said in guide
    assert grand[0] == el2n[0] == 0
    d2 = (*told("d2", "loss"), *told("d2", "metric"))
    said = "by loss**: better in {} and worse in {} cases. By answers, it is better in {} and worse in {}."
    assert said.format(*d2) in guide
    assert not any(told(arm, "loss")[0] for arm in arms_of(found) if arm not in ("random", "d2"))
    assert f"extend more than {median_reach(found, 'loss'):.3f} nats" in guide


def test_the_guide_to_similarity_cites_the_measured_file():
    from benchmarks import similarity as bench_similarity

    facts = json.loads((FOLDER / "similarity.json").read_text())
    guide = " ".join((ROOT / "docs" / "use" / "similarity.md").read_text(encoding="utf-8").split())

    def means(task, state, name, score="effort, all"):
        """Means of the pairs of one family and of the others, as the guide writes them."""
        pairs = bench_similarity._pairs(facts, task, state, score)
        return [text.replace("-", "−") for text in bench_similarity._shortly(pairs, name)]

    for state, said in (
        (0, "untouched target {} compared with {}"),
        (600, "tuned on all {} compared with {}"),
    ):
        assert said.format(*means("docstrings", state, "spearman")) in guide
    for task, said in (
        ("chat", "a mean of {}, and {} with length held"),
        ("kazakh", "they have {}, and {} with length held"),
    ):
        assert said.format(*(means(task, 0, name)[0] for name in ("spearman", "held"))) in guide
    kazakh, chat = (means(task, 60, "held") for task in ("kazakh", "chat"))
    assert f"pairs of one family have {kazakh[0]} on kazakh and {chat[0]} on chat" in guide
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
    assert "high" not in ratings
    for task, name in (("kazakh", "held"), ("chat", "held"), ("docstrings", "spearman")):
        assert (
            f"from {means(task, 0, name)[0]} to {means(task, 60, name)[0]} on {task}" in guide
            or (
                f"On {task}, it raised the plain correlation from {means(task, 0, name)[0]} to"
                f" {means(task, 60, name)[0]}"
            )
            in guide
        )
    lengths = [
        each["value"]
        for each in facts["tasks"]["chat"]["lengths"]
        if each["score"] in bench_similarity.EFFORTS
    ]
    assert f"−{-max(lengths):.2f} to −{-min(lengths):.2f}" in guide
