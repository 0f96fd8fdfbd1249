"""Templates, columns and roles that a person chooses where detection fails."""

import pytest

from staff_engine.errors import DatasetError
from tests.helpers.field_data import lines, texts


def test_dolly_has_its_context_in_the_prompt(load):
    rows = [{"instruction": "q", "context": c, "response": "a", "category": "x"} for c in ("", "passage")]
    imported = load("a.jsonl", lines(rows))
    assert imported.facts.format == "dolly"
    assert [row[0][1] for row in texts(imported)] == ["q", "q\n\npassage"]


def test_a_prompt_is_made_of_several_columns_by_a_template(load):
    rows = [
        {"dialogue": "A: hi", "topic": "x {y}", "summary": "s"},
        {"dialogue": "B", "topic": None, "summary": "t"},
    ]
    template = r"Summarize {{this}}.\n\n{dialogue}\t{topic}"
    imported = load("a.jsonl", lines(rows), prompt_template=template, response_column="summary")
    assert [row[0][1] for row in texts(imported)] == [
        "Summarize {this}.\n\nA: hi\tx {y}",
        "Summarize {this}.\n\nB",
    ]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            "{dialog}",
            "the prompt template needs the columns 'dialog', 'summary'; "
            "the data has 'dialogue', 'summary'; no row has 'dialog'",
        ),
        ("no column", "names no column; write column names in braces"),
        ("{dialogue", "a brace has no partner"),
        ("{dialogue} {}", "has empty braces"),
    ],
)
def test_a_template_is_checked(load, template, says):
    with pytest.raises(DatasetError, match=says):
        load(
            "a.jsonl",
            lines([{"dialogue": "d", "summary": "s"}]),
            prompt_template=template,
            response_column="summary",
        )


@pytest.mark.parametrize(
    ("row", "proposal"),
    [
        ({"Dialogue": "d", "Summary": "s"}, "--prompt-column 'Dialogue' --response-column 'Summary'"),
        ({"article": "d", "highlights": "s"}, "--prompt-column 'article' --response-column 'highlights'"),
        ({"source": "d", "target": "s"}, "--prompt-column 'source' --response-column 'target'"),
        ({"text": "d", "label": 1}, "--prompt-column 'text' --response-column 'label'"),
        ({"conversation": [{"role": "user", "content": "q"}]}, "--conversation-column 'conversation'"),
        ({"text": "<|im_start|>user"}, "does not show where a response begins"),
    ],
)
def test_common_columns_are_proposed_where_detection_fails(load, row, proposal):
    with pytest.raises(DatasetError, match=proposal):
        load("a.jsonl", lines([row] * 2))


def test_a_conversation_is_mapped_by_hand(load):
    talk = [{"from": "hummany", "value": "q"}, {"from": "gpt", "value": "a"}]
    with pytest.raises(
        DatasetError, match=r"from is 'hummany'; allowed: system, .*; name others with --roles"
    ):
        load("a.jsonl", lines([{"conversations": talk}]))
    read = load(
        "b.jsonl", lines([{"conversation": talk}]), conversation_column="conversation", roles="hummany=user"
    )
    assert texts(read) == [[("user", "q"), ("assistant", "a")]]
    with pytest.raises(
        DatasetError, match="roles has 'x=boss'; allowed: NAME=ROLE, where the role is system, user"
    ):
        load("c.jsonl", lines([{"conversations": talk}]), roles="x=boss")
