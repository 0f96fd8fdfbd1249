"""Control characters of files, models and people never reach the terminal as they are."""

import io
import json
import re

import pytest

from staff_engine.cli.main import main
from staff_engine.cli.terminal import console, say
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run
from staff_engine.runs.folders import PLAN_FILE
from staff_engine.runs.status import StageStatus, Status, save_status
from staff_engine.system.files import read_checked, write_checked
from staff_engine.system.words import printable
from tests.helpers.made_run import make_finished_run
from tests.helpers.made_similarity import make_finished_similarity

EVIL = "a\x1b[2J\x1b]0;t\x07b\x9bc\u202ed\rf\x08"
"""Clears the screen, renames the window, and turns the direction of the text."""

WRONG = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def printed(capsys, *arguments):
    main(list(arguments))
    said = capsys.readouterr()
    assert not WRONG.search(said.out + said.err), repr(said)
    return said.out + said.err


def evil_run(**status):
    run = create_run(Plan.make(dataset=f"/{EVIL}", small=f"/{EVIL}", target=f"/{EVIL}"))
    record = read_checked(run.folder / PLAN_FILE)
    write_checked(run.folder / PLAN_FILE, {**record, "name": EVIL})
    stages = (StageStatus(name=EVIL, unit=EVIL),)
    save_status(run.folder, Status(**{"state": "failed", "message": EVIL, "stages": stages, **status}))
    return run


def test_what_is_printed_of_a_run(home, capsys):
    run = evil_run()
    for command in (["list"], ["status", run.id], ["list", "--json"], ["status", run.id, "--json"]):
        assert "[2J" in printed(capsys, *command), "it is shown, spelled out"
    assert json.loads(printed(capsys, "status", run.id, "--json"))["name"] == EVIL


@pytest.mark.parametrize(
    "command",
    [
        ["status", EVIL], ["select", EVIL], ["resume", EVIL], ["cancel", EVIL], ["delete", EVIL, "-y"],
        ["run", "--dataset", EVIL, "--small", EVIL, "--target", EVIL], ["run", "--seed", EVIL],
        ["run", "--plan", EVIL], ["export", EVIL, "--out", EVIL], ["compare", EVIL], [EVIL], [f"--{EVIL}"],
        ["inspect", "--dataset", EVIL], ["forecast", "--dataset", EVIL],
    ],
)  # fmt: skip
def test_what_an_error_says_of_an_argument(home, capsys, command):
    assert "error: " in printed(capsys, *command)


def test_the_columns_and_values_of_a_file(home, capsys, tmp_path):
    path = tmp_path / f"{EVIL}.jsonl"
    path.write_text("".join(json.dumps({EVIL: f"{row}{EVIL}", "b": EVIL}) + "\n" for row in range(3)))
    assert "[2J" in printed(capsys, "inspect", "--dataset", str(path))
    by_hand = ["--format", "columns", "--prompt-column", EVIL, "--response-column", "b"]
    assert "[2J" in printed(capsys, "inspect", "--dataset", str(path), *by_hand)
    printed(capsys, "inspect", "--dataset", str(path), *by_hand, "--json")


def test_a_finished_run_and_its_files(home, capsys, tmp_path):
    run = make_finished_run(tmp_path, rows=60)
    path = run.folder / "summary.json"
    summary = read_checked(path)
    trust = {**summary["trust"], "sentence": EVIL, "advice": [EVIL]}
    write_checked(path, {**summary, "trust": trust, "warnings": [EVIL], "dtype_chosen": EVIL})
    write_checked(run.folder / "timings.json", {EVIL: 1.0})
    assert "[2J" in printed(capsys, "status", run.id)
    assert "[2J" in printed(capsys, "export", run.id, "--out", str(tmp_path / f"{EVIL}.jsonl"))
    assert "[2J" in printed(capsys, "select", run.id, "--out", str(tmp_path / f"{EVIL}.jsonl"))
    path.write_text(EVIL)
    assert "summary.json" in printed(capsys, "status", run.id)


def test_a_similarity_of_evil_models(home, capsys):
    run = make_finished_similarity(smalls=(f"{EVIL}a", f"{EVIL}b"), targets=(f"{EVIL}c",))
    assert "[2J" in printed(capsys, "status", run.id)


def test_brackets_of_a_name_are_no_markup(home, capsys):
    run = make_finished_similarity(smalls=("[red]a[/red]", "[link=x]b"), targets=("[/]c",))
    said = printed(capsys, "status", run.id)
    assert "[red]a[/red]" in said and "[link=x]b" in said and "[/]c" in said


def test_printable_keeps_what_people_write():
    text = "Grüße, 👩‍💻 नमस्ते می‌خواهم\tתו\nend"
    assert printable(text) == text
    assert printable(EVIL) == "a\\x1b[2J\\x1b]0;t\\x07b\\x9bc\\u202ed\\x0df\\x08"
    assert printable("\ud800") == "\\ud800"


def test_say_and_the_console_spell_them_out(capsys):
    say(f"{EVIL}\nend", err=True)
    assert not WRONG.search(capsys.readouterr().err)
    shown = console()
    shown.file = io.StringIO()
    shown.print("[bold]ours[/bold]", EVIL)
    assert "ours" in shown.file.getvalue() and not WRONG.search(shown.file.getvalue())
