"""What is trained on, and what is said of columns and fields that are not read."""

import pytest

from tests.helpers.field_data import ALPACA, chat, lines, problems, texts, trained


@pytest.mark.parametrize(
    "flag",
    [{"weight": 0}, {"weight": 0.0}, {"loss": False}, {"loss_weight": 0}, {"train": False}, {"mask": True}],
)
def test_a_turn_of_weight_0_is_no_response(load, look, flag):
    row = chat(("user", "q"), ("assistant", "bad"), ("user", "again"), ("assistant", "good"))
    row["messages"][1] |= flag
    row["messages"][3] |= {"weight": 1}
    assert trained(load("a.jsonl", lines([row]))) == [["good"]]
    assert "1 response in 1 row left out of the loss: weight 0" in look(
        "b.jsonl", lines([row, row["messages"] and chat(("user", "q"), ("assistant", "a"))])
    )


def test_a_row_whose_responses_all_have_weight_0_is_unusable(load):
    row = chat(("user", "q"), ("assistant", "bad"))
    row["messages"][1]["weight"] = 0
    imported = load("a.jsonl", lines([row, chat(("user", "q"), ("assistant", "a"))]))
    assert problems(imported) == ["line 1: no response that is trained on: its turns have weight 0"]


def test_weights_of_prompts_do_not_matter(load):
    row = chat(("user", "q"), ("assistant", "a"))
    row["messages"][0]["loss_weight"] = 0.0
    assert trained(load("a.jsonl", lines([row]))) == [["a"]]


def test_parts_with_a_value_are_text(load):
    part = {"type": "text", "value": "q"}
    rows = [
        {
            "messages": [
                {"role": "user", "content": [part]},
                {"role": "assistant", "content": [{**part, "value": "a"}]},
            ]
        }
    ]
    assert texts(load("a.jsonl", lines(rows))) == [[("user", "q"), ("assistant", "a")]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, ["good"]),
        (
            {
                "prompt": [{"role": "user", "content": "q"}],
                "chosen": [{"role": "assistant", "content": "good"}],
                "rejected": [{"role": "assistant", "content": "bad"}],
            },
            ["good"],
        ),
        (
            {
                "prompt": "q",
                "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
                "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}],
            },
            ["good"],
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "gpt", "value": "earlier"},
                    {"from": "human", "value": "again"},
                ],
                "chosen": {"from": "gpt", "value": "good"},
                "rejected": {"from": "gpt", "value": "bad"},
            },
            ["good"],
        ),
        ({"instruction": "q", "input": "more", "chosen": "good", "rejected": "bad"}, ["good"]),
    ],
)
def test_preference_data_is_read_as_prompt_and_chosen_answer_and_said(load, look, row, expected):
    imported = load("a.jsonl", lines([row, row]))
    assert imported.facts.format == "preference"
    assert trained(imported) == [expected] * 2
    assert texts(imported)[0][0][1].startswith("q")
    said = look("b.jsonl", lines([row, row]))
    assert "preference data: the response is 'chosen'; 'rejected' is not read" in said
    assert "not read: rejected" in said


def test_labels_that_mark_bad_answers_are_said_and_can_leave_rows_out(load, look):
    rows = [{"prompt": f"p {i}", "completion": "c", "label": i % 2 == 0} for i in range(6)]
    assert (
        "3 rows with a label false: the response is marked as bad; "
        "leave such rows out with --bad-labels exclude" in look("a.jsonl", lines(rows))
    )
    assert problems(load("b.jsonl", lines(rows))) == []
    left = problems(load("c.jsonl", lines(rows), bad_labels="exclude"))
    assert len(left) == 3
    assert left[0] == "line 2: the label is false: the response is marked as bad, and such rows are left out"


def test_a_label_that_is_the_response_marks_nothing(load):
    rows = [{"text": "t", "label": False}] * 2
    imported = load(
        "a.jsonl", lines(rows), prompt_column="text", response_column="label", bad_labels="exclude"
    )
    assert texts(imported)[0] == [("user", "t"), ("assistant", "false")]


def test_prompt_and_completion_may_be_lists_of_messages(load):
    row = {
        "prompt": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "r"},
            {"role": "user", "content": "s"},
        ],
        "completion": [{"role": "assistant", "content": "a"}],
    }
    imported = load("a.jsonl", lines([row]))
    assert trained(imported) == [["a"]]
    assert imported.facts.conversation


def test_reasoning_is_part_of_the_response_unless_it_is_left_out(load, look):
    row = chat(("user", "q"), ("assistant", "a"))
    row["messages"][1]["reasoning_content"] = "because"
    assert trained(load("a.jsonl", lines([row]))) == [["<think>\nbecause\n</think>\n\na"]]
    assert trained(load("b.jsonl", lines([row]), reasoning="exclude")) == [["a"]]
    assert "the reasoning in 2 rows is part of the response" in look("c.jsonl", lines([row] * 2))
    assert "not read: reasoning_content of a turn" in look("c.jsonl", lines([row] * 2), reasoning="exclude")


def test_pictures_are_not_read_and_that_is_said(look):
    row = chat(("user", "<image>what?"), ("assistant", "a"), images=["p.png"], id=1)
    said = look("a.jsonl", lines([row, {**row, "images": []}]))
    assert "not read: images, id" in said
    assert "samples are scored without their images" in said


def test_columns_and_turn_fields_that_are_not_read_are_counted(look):
    row = chat(("user", "q"), ("assistant", "a"), tools=[{"type": "function"}], label=True)
    row["messages"][0]["name"] = "ann"
    said = look("a.jsonl", lines([row, chat(("user", "q"), ("assistant", "b"), label=False)]))
    assert "not read: label, tools (1 row), name of a turn (1 row)" in said


def test_unusable_rows_are_listed_with_their_lines(look):
    rows = [{"prompt": "p", "response": "r"}] * 3 + [{"prompt": "p", "response": ""}] * 7
    assert "7 rows cannot be used: no response (lines 4, 5, 6, 7, 8, …)" in look("a.jsonl", lines(rows))


def test_a_single_row_is_said_to_be_too_few(look):
    assert "1 usable row; a run needs at least 2" in look("a.jsonl", lines(ALPACA[:1]))
