import json

import pytest

from staff_engine.data.detection import choose_mapping, detect_format
from staff_engine.data.formats import (
    BY_HAND,
    FORMATS,
    RecordFormat,
    normalise,
)
from staff_engine.data.reading import Mapping, Reading
from staff_engine.data.turns import read_pair
from staff_engine.errors import DatasetError


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


CASES = {
    "messages": (
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                      {"role": "assistant", "content": "a"}]},
        turns(("system", "s"), ("user", "q"), ("assistant", "a")),
    ),
    "sharegpt": (
        {"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        turns(("system", "s"), ("user", "q"), ("assistant", "a")),
    ),
    "prompt-completion": ({"prompt": "q", "completion": "a"}, turns(("user", "q"), ("assistant", "a"))),
    "alpaca": (
        {"instruction": "do", "input": "this", "output": "a", "system": "s", "history": [["h", "i"]]},
        turns(("system", "s"), ("user", "h"), ("assistant", "i"), ("user", "do\n\nthis"), ("assistant", "a")),
    ),
    "preference": ({"prompt": "q", "chosen": "a", "rejected": "b"}, turns(("user", "q"), ("assistant", "a"))),
    "dolly": (
        {"instruction": "do", "context": "this", "response": "a"},
        turns(("user", "do\n\nthis"), ("assistant", "a")),
    ),
    "query-response": ({"query": "q", "response": "a"}, turns(("user", "q"), ("assistant", "a"))),
    "question-answer": ({"question": "q", "answer": 3.5}, turns(("user", "q"), ("assistant", "3.5"))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_format_is_detected_and_read(name):
    row, expected = CASES[name]
    mapping = detect_format([row])
    assert mapping.format == name
    assert normalise(row, mapping) == expected


def test_every_format_but_the_hand_mapped_one_is_detected():
    assert {*CASES, "columns"} == set(FORMATS)


def test_formats_are_detected_in_the_order_of_the_registry():
    assert list(FORMATS)[:-1] == [
        "preference", "messages", "sharegpt", "prompt-completion", "alpaca", "dolly", "query-response",
        "question-answer",
    ]  # fmt: skip
    assert list(FORMATS)[-1] == BY_HAND
    assert all(name == format.name for name, format in FORMATS.items())
    assert len({format.label for format in FORMATS.values()}) == len(FORMATS)


def test_an_entry_in_the_registry_is_all_that_a_new_format_needs(monkeypatch):
    monkeypatch.setitem(
        FORMATS, "ask-reply", RecordFormat("ask-reply", "Ask", read_pair, (("ask", "reply"),))
    )
    mapping = choose_mapping([{"ask": "q", "reply": "a"}])
    assert mapping == Mapping("ask-reply", "ask", "reply")
    assert normalise({"ask": "q", "reply": "a"}, mapping) == turns(("user", "q"), ("assistant", "a"))


def test_a_mapping_of_an_unknown_format_is_an_error_and_no_pair():
    with pytest.raises(DatasetError, match="unknown format 'xml'; allowed: preference, messages"):
        normalise({"p": "q", "r": "a"}, Mapping("xml", "p", "r"))


def test_a_prompt_goes_with_a_response_too():
    row = {"prompt": "q", "response": "a"}
    assert normalise(row, detect_format([row])) == turns(("user", "q"), ("assistant", "a"))


def test_messages_come_before_all_others():
    row = CASES["messages"][0] | CASES["alpaca"][0] | CASES["prompt-completion"][0]
    assert detect_format([row]).format == "messages"


def test_an_empty_input_of_alpaca_leaves_no_blank_lines():
    row = {"instruction": "do", "input": "", "output": "a"}
    assert normalise(row, detect_format([row])) == turns(("user", "do"), ("assistant", "a"))


def test_text_parts_are_joined_and_tool_calls_are_what_the_assistant_says():
    row = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": 1, "function": {"name": "f"}}]},
            {"role": "tool", "content": "22"},
            {"role": "assistant", "content": "c"},
        ]
    }
    expected = turns(("user", "ab"), ("assistant", '[{"name": "f"}]'), ("tool", "22"), ("assistant", "c"))
    expected[1]["call"] = True
    assert normalise(row, Mapping("messages")) == expected


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "q"}, "has no 'completion'"),
        ({"prompt": ["q"], "completion": "a"}, "'prompt' is a list, should be text"),
        ({"prompt": {"x": 1}, "completion": "a"}, "'prompt' is an object, should be text"),
        ({"prompt": None, "completion": "a"}, "'prompt' is null, should be text"),
        ({"prompt": float("nan"), "completion": "a"}, "'prompt' is null, should be text"),
        ({"prompt": "q", "completion": ""}, "no response"),
        ({"prompt": "q", "completion": "  \n"}, "no response"),
        ({"prompt": "q", "completion": None}, "no response"),
    ],
)
def test_a_pair_that_cannot_be_used_says_why(row, says):
    with pytest.raises(DatasetError, match=says):
        normalise(row, Mapping("prompt-completion", "prompt", "completion"))


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ("text", "'messages' is text, should be a list"),
        ([], "no response"),
        ([{"role": "user", "content": "q"}], "no response"),
        ([{"content": "q"}], "an entry of 'messages' has no 'role'"),
        (["q"], "an entry of 'messages' has no 'role'"),
        ([{"role": "user"}], "an entry of 'messages' has no 'content'"),
        ([{"role": "narrator", "content": "q"}], "role is 'narrator'; allowed:"),
        ([{"role": "user", "content": [{"type": "image"}]}], "'content' has a part that is not text"),
    ],
)
def test_a_conversation_that_cannot_be_used_says_why(messages, says):
    with pytest.raises(DatasetError, match=says):
        normalise({"messages": messages}, Mapping("messages"))


def test_a_conversation_in_a_csv_field_is_read_as_json():
    row = {"messages": json.dumps(CASES["messages"][0]["messages"])}
    assert normalise(row, Mapping("messages")) == CASES["messages"][1]


def test_formats_that_fit_some_rows_each_are_counted():
    rows = [{"prompt": "a", "completion": "b"}, {"question": "a", "answer": "b"}]
    with pytest.raises(
        DatasetError, match=r"most of the first 2 rows \(prompt-completion fits 1, question-answer fits 1\)"
    ):
        detect_format(rows)


def test_unknown_columns_are_named():
    with pytest.raises(DatasetError, match="has the columns 'text', 'label'; try --prompt-column 'text'"):
        detect_format([{"text": "a", "label": 1}])


def test_any_two_columns_can_be_mapped():
    mapping = choose_mapping([{"text": "a", "label": True}], Reading(None, "text", "label"))
    assert mapping == Mapping("columns", "text", "label")
    assert normalise({"text": "a", "label": True}, mapping) == turns(("user", "a"), ("assistant", "true"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("xml", None, None), "unknown format 'xml'; allowed: preference, messages"),
        (("columns", None, None), "needs --response-column, and --prompt-column or --prompt-template"),
        (("alpaca", None, None), "'alpaca' needs the columns 'instruction', 'output'; the data has 'text'"),
        (
            (None, "text", "reply"),
            "needs the columns 'text', 'reply'; the data has 'text'; no row has 'reply'",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(arguments, says):
    with pytest.raises(DatasetError, match=says):
        choose_mapping([{"text": "a"}], Reading(*arguments))


def test_entries_with_speaker_and_text_are_turns_and_others_are_named_with_their_fields():
    mapping = Mapping("messages")
    said = [{"speaker": "Human", "text": "q"}, {"speaker": "Bot", "text": "a"}]
    turns = normalise({"messages": said}, mapping)
    assert [(turn["role"], turn["content"]) for turn in turns] == [("user", "q"), ("assistant", "a")]
    with pytest.raises(DatasetError, match=r"has no 'role' \(it has 'who', 'says'\)"):
        normalise({"messages": [{"who": "Human", "says": "q"}]}, mapping)
