"""Turns laid out as records, and LLaMA-Factory's description of them."""

import json

import pytest

from staff_engine.errors import StaffError
from staff_engine.export import llama_factory
from staff_engine.export.layouts import alpaca, fill, messages, prompt_completion, sharegpt


def turns(*parts):
    return [{"role": role, "content": text} for role, text in zip(parts[::2], parts[1::2], strict=True)]


PAIR = turns("user", "2+2?", "assistant", "4")
WITH_SYSTEM = turns("system", "be brief", "user", "2+2?", "assistant", "4")
TWO_ROUNDS = turns("system", "be brief", "user", "2+2?", "assistant", "4", "user", "and 1?", "assistant", "5")
WITH_TOOL = turns("user", "weather?", "assistant", "look", "tool", "rain", "assistant", "it rains")


def test_alpaca_has_only_the_three_usual_fields_for_a_pair():
    assert alpaca(PAIR) == {"instruction": "2+2?", "input": "", "output": "4"}


def test_alpaca_puts_earlier_rounds_into_the_history_and_the_last_one_into_instruction_and_output():
    assert alpaca(TWO_ROUNDS) == {
        "instruction": "and 1?",
        "input": "",
        "output": "5",
        "system": "be brief",
        "history": [["2+2?", "4"]],
    }


def test_filling_gives_a_record_the_optional_fields_of_the_others_and_no_more():
    assert fill(alpaca(PAIR), {"history"}) == alpaca(PAIR) | {"history": []}
    assert fill(alpaca(WITH_SYSTEM), {"system", "history"}) == alpaca(WITH_SYSTEM) | {"history": []}


def test_prompt_completion_sets_the_system_turn_before_the_prompt():
    assert prompt_completion(PAIR) == {"prompt": "2+2?", "completion": "4"}
    assert prompt_completion(WITH_SYSTEM) == {"prompt": "be brief\n\n2+2?", "completion": "4"}


def test_prompt_completion_refuses_a_second_round_and_says_what_takes_it():
    with pytest.raises(StaffError, match=r"5 turns do not fit prompt-completion.*messages, sharegpt, alpaca"):
        prompt_completion(TWO_ROUNDS)


@pytest.mark.parametrize(
    ("layout", "lay_out"), [("alpaca", alpaca), ("prompt-completion", prompt_completion)]
)
@pytest.mark.parametrize(
    "others",
    [WITH_TOOL, turns("assistant", "hello"), turns("user", "hi"), turns("system", "s"), [], PAIR + PAIR[:1]],
    ids=["tool", "no question", "no answer", "only system", "none", "question last"],
)
def test_layouts_of_questions_and_answers_refuse_turns_that_do_not_alternate(layout, lay_out, others):
    with pytest.raises(StaffError, match=f"do not fit {layout}"):
        lay_out(others)


def test_messages_and_sharegpt_hold_any_turns_in_their_order():
    assert messages(WITH_TOOL) == {"messages": WITH_TOOL}
    assert sharegpt(turns("system", "s", "user", "u", "assistant", "a", "tool", "t")) == {
        "conversations": [
            {"from": "system", "value": "s"},
            {"from": "human", "value": "u"},
            {"from": "gpt", "value": "a"},
            {"from": "observation", "value": "t"},
        ]
    }


def read_as_llama_factory(entry, row):
    """What its parser and ShareGPT converter make of a row, after their sources: None if it is skipped.

    `DatasetAttr.join` sets every attribute to None that a given `columns` or `tags` leaves out.
    """
    assert entry["formatting"] == "sharegpt"
    columns = {name: entry["columns"].get(name) for name in ("messages", "system", "tools")}
    tags = {name: entry["tags"].get(f"{name}_tag") for name in ("role", "content", "user", "assistant")}
    tags |= {name: entry["tags"].get(f"{name}_tag") for name in ("observation", "function", "system")}
    spoken = row[columns["messages"]]
    system = row[columns["system"]] if columns["system"] else ""
    if tags["system"] and spoken and spoken[0][tags["role"]] == tags["system"]:
        system, spoken = spoken[0][tags["content"]], spoken[1:]
    accepted = [(tags["user"], tags["observation"]), (tags["assistant"], tags["function"])]
    if any(turn[tags["role"]] not in accepted[i % 2] for i, turn in enumerate(spoken)) or len(spoken) % 2:
        return None
    return system, [turn[tags["content"]] for turn in spoken]


ENTRY = llama_factory.entry("coreset.jsonl")


def test_llama_factory_reads_every_turn_and_the_system_prompt_unchanged():
    assert read_as_llama_factory(ENTRY, messages(PAIR)) == ("", ["2+2?", "4"])
    assert read_as_llama_factory(ENTRY, messages(TWO_ROUNDS)) == ("be brief", ["2+2?", "4", "and 1?", "5"])
    assert read_as_llama_factory(ENTRY, messages(WITH_TOOL)) == ("", ["weather?", "look", "rain", "it rains"])


@pytest.mark.parametrize(
    "sample",
    [PAIR, TWO_ROUNDS, WITH_TOOL, PAIR[:1], PAIR + PAIR[1:], WITH_TOOL[:3] + WITH_TOOL[2:], WITH_SYSTEM],
)
def test_the_samples_that_llama_factory_skips_are_known(sample):
    assert llama_factory.skips(sample) == (read_as_llama_factory(ENTRY, messages(sample)) is None)


def test_an_entry_is_added_to_an_existing_dataset_info_without_losing_others(tmp_path):
    others = {"identity": {"file_name": "identity.json"}, "中文": {"hf_hub_url": "a/b"}}
    info = tmp_path / "dataset_info.json"
    info.write_text(json.dumps(others, ensure_ascii=False), encoding="utf-8")
    content = llama_factory.with_entry(tmp_path / "my coreset, 10 %.jsonl")
    assert content == {**others, "my_coreset_10": llama_factory.entry("my coreset, 10 %.jsonl")}
    llama_factory.write_info(info, content)
    assert json.loads(info.read_text(encoding="ascii")) == content
    assert llama_factory.with_entry(tmp_path / "my coreset, 10 %.jsonl") == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "a list, should be an object"),
        ('{"coreset": {"file_name": "other.json"}}', "entry 'coreset' for other data"),
        ('{"coreset": 3}', "entry 'coreset' for other data"),
    ],
)
def test_a_dataset_info_that_cannot_take_the_entry_is_refused(tmp_path, content, message):
    (tmp_path / "dataset_info.json").write_text(content)
    with pytest.raises(StaffError, match=message):
        llama_factory.with_entry(tmp_path / "coreset.jsonl")


def test_llama_factory_is_not_given_a_file_type_that_it_does_not_know(tmp_path):
    with pytest.raises(StaffError, match=r"coreset\.out: .*\.json or \.jsonl"):
        llama_factory.with_entry(tmp_path / "coreset.out")
