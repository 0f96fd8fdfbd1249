"""The texts of the project avoid phrases that are not plain English."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "assets" / "card.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "assets" / "models").rglob("*.md")),
]

CODE = [
    "app.py",
    "pages",
    "staff_engine/charts",
]
"""Files and folders whose string literals and docstrings are checked too."""

PHRASES = {
    r"\bwhat is (over|left) is\b": "name the subject: longer samples are truncated",
    r"\bturn(ed|s)? the (settings|strata|number|pruning)": "change a setting",
    r"\banswers? at once\b": "updates immediately",
    r"\b(told|tell|tells) apart\b": "differs significantly, distinguish",
    r"\b(holds?|leaves? out) 0\b": "the interval includes 0, does not include 0",
    r"\bat the foot\b": "at the bottom",
    r"\bis no (\w+ )?(of|setting|part|proof|place|gain|text)\b": "is not a …, unknown …",
    r"\bhalf a (character|surrogate)\b": "an unpaired surrogate",
    r"\bspeaks? (\w+ )?for\b": "is reliable for, predicts the scores of",
    r"\breckon": "compute, estimate",
    r"\bwhere nothing (else )?is (given|said)\b": "by default",
    r"\bhow far [^.|]*\bbe trusted\b": "how reliable … is",
    r"\btakes? is not known\b": "no time estimate",
    r"\bstands? (beside|behind|below|above|under|apart|at|in|for|as)\b": "is next to, is in, represents",
    r"\bbeside (it|them|each|that|these) (lie|lies|stand|stands|is|are)\b": "… is next to it",
    r"\b(set|sets|setting|held) (\w+ )?(beside|against)\b": "compare … with …",
    r"\b(said|told)\b": "reported, shown",
    r"\b(was|were|it|they|and) found\b|\bfound:": "result, actual value",
    r"\bmade up\b|\banew\b": "simulated, again",
    r"\bcomes? to\b|\bcome out at\b": "is",
    r"\bgo(es)? on (where|at|from|all)\b": "continues",
    r"\bwhat (becomes|stays) of\b": "what happens to",
    r"\bis worth something\b": "has a benefit",
    r"\b(buys?|bought) nothing\b": "has no benefit",
    r"\bcould not be opened\b|\bwhere this was written\b": "cite the source",
}
"""A pattern, searched without regard to case and across line ends, and the plain wording."""


def phrases_in(text):
    """Each phrase to avoid that occurs in a text, with the plain wording."""
    line = " ".join(text.split())
    return [
        f"{match.group()!r}: {plain}"
        for pattern, plain in PHRASES.items()
        for match in re.finditer(pattern, line, re.IGNORECASE)
    ]


def modules():
    """The Python files of `CODE`, a list of paths."""
    paths = [ROOT / name for name in CODE]
    return [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


def strings_in(source):
    """The docstrings and other string literals of a module; a placeholder of an f-string is …."""
    parts = []

    class Strings(ast.NodeVisitor):
        def visit_JoinedStr(self, node):
            texts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            parts.append("".join(texts))
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    self.visit(part.value)

        def visit_Constant(self, node):
            if isinstance(node.value, str):
                parts.append(node.value)

    Strings().visit(ast.parse(source))
    return parts


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_text_is_in_plain_english(path):
    assert phrases_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_strings_of_a_module_are_in_plain_english(path):
    strings = strings_in(path.read_text(encoding="utf-8"))
    assert [phrase for string in strings for phrase in phrases_in(string)] == []


def test_strings_are_read_from_docstrings_literals_and_f_strings():
    source = """def f(said):
    '''A docstring.'''
    # a comment that nobody said
    return g(f"The {said} is" f" no {h('inner')} text", "one" "two")
"""
    assert strings_in(source) == ["A docstring.", "The … is no … text", "inner", "onetwo"]


@pytest.mark.parametrize(
    "text",
    [
        "Most tokens of a sample; what is over is cut, prompts first.",
        "Turn the settings; the coreset answers at once.",
        "All where nothing is given.",
        "strata_x is no setting of a plan",
        "What it will take is not known.",
        "STAFF is not told apart from random by loss; the interval holds 0.",
        "How far the small model\nmay be trusted.",
        "Which small model may speak for which target.",
        "What each does stands at the foot of the page.",
        "What the method itself reckons is counted.",
        "row 3 is half a character, no text",
    ],
)
def test_a_phrase_that_nobody_would_say_is_noticed(text):
    assert phrases_in(text)


def test_plain_sentences_pass():
    text = """Maximum tokens per sample. Longer samples are truncated, prompt first. Change a setting and
    the coreset updates immediately; no model is run. Read only the first N rows. Leave empty to read all.
    The method shows no significant difference from random (the interval includes 0). Unknown setting 'x'.
    Every run shows how reliable the small model is on your data: high, fair or low."""
    assert phrases_in(text) == []
