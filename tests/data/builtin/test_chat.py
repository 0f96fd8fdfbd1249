from collections import Counter

import pytest

from staff_engine.data.builtin.chat import chat, cleaned, pairs

CONVERSATIONS = """
categories:
- trivia
conversations:
- - In what year?
  - 1963
  - Are you
      sure?
- - ''
  - Nobody asked.
- - Alone
- In a game of bingo
- - yes
  - "  No\\t way. "
"""


def test_each_statement_answers_the_one_before():
    assert list(pairs(CONVERSATIONS)) == [
        ("In what year?", "1963"),
        ("1963", "Are you sure?"),
        ("yes", "No way."),
    ]


def test_or_all_answer_the_first():
    assert list(pairs(CONVERSATIONS, one_question=True))[:2] == [
        ("In what year?", "1963"),
        ("In what year?", "Are you sure?"),
    ]


def test_lines_of_code_keep_their_indentation():
    assert cleaned("\n Here:  \n\n```\nfor i in x:\n    print(i)  \n```\n") == (
        "Here:\n\n```\nfor i in x:\n    print(i)\n```"
    )


@pytest.fixture(scope="module")
def rows():
    return list(chat())


def test_there_are_over_a_thousand_pairs_and_none_twice(rows):
    assert 1000 < len(rows) < 1500
    assert len({(row["prompt"], row["response"]) for row in rows}) == len(rows)


def test_both_sides_say_something_in_english(rows):
    for row in rows:
        assert row["prompt"] == row["prompt"].strip() != ""
        assert row["response"] == row["response"].strip() != ""
        assert not any(letter >= "\u0400" for letter in row["response"] if letter.isalpha())


def test_the_categories_are_kept_and_the_first_rows_are_of_many(rows):
    counts = Counter(row["category"] for row in rows)
    assert len(counts) > 15
    assert {"ai", "coding", "trivia", "tech_support"} <= set(counts)
    assert max(counts.values()) < len(rows) / 3
    assert len({row["category"] for row in rows[:60]}) > 8


def test_several_answers_to_one_prompt_are_rows_beside_each_other(rows):
    answers = [place for place, row in enumerate(rows) if row["prompt"] == "What is a super computer?"]
    assert answers == list(range(answers[0], answers[0] + 3))
    assert rows[answers[2]]["response"] == "You know, the big iron!"


def test_it_is_the_same_each_time(rows):
    assert list(chat()) == rows
