"""Data as people bring it: each kind of trouble that was reported, with the right answer to it."""

import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.data.inspection.findings import DataChoice, in_sentences
from staff_engine.data.inspection.scan import inspect_data
from staff_engine.data.reading import Reading
from staff_engine.errors import DatasetError

ALPACA = [{"instruction": f"do {i}", "input": "", "output": f"done {i}"} for i in range(4)]


@pytest.fixture
def load(tmp_path):
    """Import a file with this content."""

    def loaded(name, content, **reading):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_dataset(
            str(path), tmp_path / f"imported {name} {len(list(tmp_path.iterdir()))}", Reading(**reading)
        )

    return loaded


@pytest.fixture
def look(tmp_path):
    """What the check says of a file with this content, as one text."""

    def looked(name, content, **reading):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        folder = tmp_path / "inspection"
        folder.mkdir(exist_ok=True)
        return "\n".join(
            in_sentences(inspect_data(DataChoice(dataset=str(tmp_path / name), **reading), folder))
        )

    return looked


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def texts(imported):
    """Role and text of every turn of every row."""
    return [[(turn["role"], turn["content"]) for turn in turns] for turns in imported.rows["turns"]]


def trained(imported):
    """The texts of the turns that are in the loss."""
    return [
        [turn["content"] for turn in turns if turn["role"] == "assistant" and turn["trained"] is not False]
        for turns in imported.rows["turns"]
    ]


def problems(imported):
    return [problem for problem in imported.rows["problem"] if problem]


def chat(*turns, **more):
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


# Parquet


def test_texts_that_are_stored_as_binary_are_read_as_utf8(load):
    table = pa.table(
        {"instruction": ["ü 1".encode(), b"2"], "output": [b"a", "ж".encode()], "input": [b"", None]}
    )
    assert texts(load("a.parquet", table)) == [
        [("user", "ü 1"), ("assistant", "a")],
        [("user", "2"), ("assistant", "ж")],
    ]


def test_a_binary_cell_that_is_no_text_makes_its_row_unusable_with_column_and_reason(load):
    table = pa.table({"prompt": [b"p", b"p"], "response": [b"r", b"ab\xff"], "blob": [b"\xff", b"\x00"]})
    imported = load("a.parquet", table)
    assert problems(imported) == ["row 2: 'response' is not UTF-8 text (byte 0xff at character 3)"]


def test_a_string_column_that_is_not_utf8_is_no_error_of_python(load):
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 2, 5], pa.int32()).buffers()[1], pa.py_buffer(b"okab\xff")]
    )
    imported = load("a.parquet", pa.table({"prompt": ["p", "p"], "response": bad}))
    assert problems(imported) == ["row 2: 'response' is not UTF-8 text (byte 0xff at character 3)"]


def test_types_that_json_does_not_have_are_read_and_none_is_out_of_range(load):
    table = pa.table(
        {
            "prompt": ["p"],
            "response": pa.array([decimal.Decimal("0.10")], pa.decimal128(10, 2)),
            "far": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
            "ns": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            "zone": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)]),
            "took": pa.array([5], pa.duration("s")),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
            "numbered": pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int32())),
            "big": pa.array([2**64 - 1], pa.uint64()),
            "kind": pa.array(["a"]).dictionary_encode(),
            "half": pa.array([1.5], pa.float32()).cast(pa.float16()),
            "nothing": pa.nulls(1),
            "lists": pa.array([[[1], None, []]], pa.large_list(pa.list_(pa.int8()))),
            "pair": pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
        }
    )
    imported = load("a.parquet", table)
    assert texts(imported) == [[("user", "p"), ("assistant", "0.10")]]
    row = json.loads((imported.folder / "source.jsonl").read_bytes())
    assert row.pop("far")
    assert row == {
        "prompt": "p",
        "response": "0.10",
        "ns": "2023-11-14 22:13:20.123456789",
        "zone": "2024-01-01 00:00:00.000000",
        "took": 5,
        "map": {"k": 1},
        "numbered": [[1, 2]],
        "big": 2**64 - 1,
        "kind": "a",
        "half": 1.5,
        "nothing": None,
        "lists": [[1], None, []],
        "pair": [1, 2],
    }


def test_nulls_and_slices_of_nested_columns_keep_their_rows(load):
    talk = [
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": f"a {i}"}] for i in range(2500)
    ]
    talk[1] = None
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    imported = load("a.parquet", pa.table({"messages": pa.array(talk, kind)}))
    assert [turns[1]["content"] if turns else None for turns in imported.rows["turns"]] == [
        None if i == 1 else f"a {i}" for i in range(2500)
    ]
    assert problems(imported) == ["row 2: 'messages' is null, should be a list"]


def test_an_object_with_a_name_twice_is_an_error_that_names_the_column(load):
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DatasetError, match=r"column 'meta' of type struct.* cannot be read: .*twice"):
        load("a.parquet", pa.table({"prompt": ["p"], "response": ["r"], "meta": twice}))


def test_messages_as_json_text_may_begin_with_white_space(load):
    text = '\n [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'
    assert texts(load("a.parquet", pa.table({"messages": [text]}))) == [[("user", "q"), ("assistant", "a")]]


# JSON


def test_json_and_jsonl_agree_on_odd_values_in_columns_that_are_not_read(load):
    odd = ['"\\ud83d"', "123456789012345678901234567890", "NaN", "1e400", '"\\u0000"']
    rows = [f'{{"instruction": "do", "output": "done", "meta": {value}}}' for value in odd]
    first, second = load("a.jsonl", "\n".join(rows)), load("a.json", f"[{', '.join(rows)}]")
    assert problems(first) == problems(second) == []
    assert first.facts.fingerprint == second.facts.fingerprint
    assert b'"meta":"\\ud83d"' in (second.folder / "source.jsonl").read_bytes()


def test_an_array_in_a_jsonl_file_is_read(load):
    imported = load("a.jsonl", "\n " + json.dumps(ALPACA, indent=1))
    assert (imported.facts.rows, problems(imported)) == (4, [])


def test_lines_with_a_comma_behind_them_say_so(load):
    with pytest.raises(DatasetError, match=r"line 1: ends with a comma; .*remove the comma after each row"):
        load("a.jsonl", "".join(json.dumps(row) + ",\n" for row in ALPACA))


def test_a_table_by_columns_as_pandas_writes_it_says_how_to_write_rows(load):
    columns = {name: {str(i): row[name] for i, row in enumerate(ALPACA)} for name in ALPACA[0]}
    with pytest.raises(DatasetError, match=r"orient='records', lines=True"):
        load("a.json", json.dumps(columns))


def test_of_two_lists_the_one_of_objects_is_read(load):
    assert load("a.json", json.dumps({"tags": ["x", "y"], "data": ALPACA, "v": 1})).facts.rows == 4


def test_two_lists_of_objects_are_named(load):
    with pytest.raises(DatasetError, match=r"2 lists .'train', 'test'.; it needs exactly one list of rows"):
        load("a.json", json.dumps({"train": ALPACA, "test": ALPACA, "n": []} | {"n": 1}))


def test_a_key_that_is_given_twice_is_reported(look):
    said = look("a.jsonl", '{"instruction": "x", "instruction": "q", "output": "a"}\n' * 2)
    assert "2 rows with the same key twice ('instruction'): the last value is used" in said


def test_unicode_line_separators_are_text(load):
    text = "one\u2028two\u2029three\x85four"
    imported = load("a.jsonl", lines([{"prompt": "p", "response": text}]))
    assert texts(imported) == [[("user", "p"), ("assistant", text)]]


def test_100000_levels_are_an_unusable_row_or_a_sentence(load):
    deep = "[" * 100_000
    for name in ("a.json", "b.jsonl"):
        with pytest.raises(DatasetError, match="not JSON"):
            load(name, f'{{"prompt": {deep}\n' * 2)


# Encodings and tables


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_json_lines_in_another_unicode_encoding_are_recognised(load, encoding):
    imported = load("a.jsonl", lines(ALPACA).encode(encoding))
    assert (imported.facts.rows, problems(imported)) == (4, [])
    assert json.loads(
        (imported.folder / "source.jsonl").read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()[3]
    )


def test_a_table_of_excel_in_utf16_with_tabs_is_recognised(load):
    content = 'prompt\tresponse\r\nü 1\t"a, ""b"""\r\n'.encode("utf-16")
    assert texts(load("a.csv", content)) == [[("user", "ü 1"), ("assistant", 'a, "b"')]]


def test_a_table_in_gbk_is_read_with_its_encoding_which_the_message_names(load):
    content = '问题,回答\r\n第一?,"好,的"\r\n'.encode("gbk")
    with pytest.raises(
        DatasetError, match=r"line 1: the column name .* is not UTF-8 text; .*--encoding, .*gb18030"
    ):
        load("a.csv", content)
    read = load("b.csv", content, encoding="gb18030", prompt_column="问题", response_column="回答")
    assert texts(read) == [[("user", "第一?"), ("assistant", "好,的")]]


def test_an_encoding_that_is_wrong_or_unknown_says_so(load):
    with pytest.raises(DatasetError, match="unknown encoding 'utf-99'; examples of known ones: gb18030"):
        load("a.csv", "prompt,response\na,b\n", encoding="utf-99")
    with pytest.raises(DatasetError, match="is not text in shift_jis"):
        load("b.csv", "prompt,response\na,\xa0\xff\n".encode("latin-1"), encoding="shift_jis")


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t"), ("a.csv", "|"), ("a.tsv", ",")]
)
def test_the_delimiter_of_a_table_is_detected(load, name, delimiter):
    rows = [("instruction", "input", "output"), ("q 1", "", "it is, a"), ("q 2", "x", "b")]
    quoted = "\n".join(delimiter.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows)
    assert texts(load(name, quoted)) == [
        [("user", "q 1"), ("assistant", "it is, a")],
        [("user", "q 2\n\nx"), ("assistant", "b")],
    ]


def test_a_delimiter_can_be_given_by_hand(load):
    content = "prompt~response\na, b; c~d\n"
    assert texts(load("a.csv", content, delimiter="~")) == [[("user", "a, b; c"), ("assistant", "d")]]
    with pytest.raises(DatasetError, match="delimiter is '~~'; allowed: one character, or tab"):
        load("b.csv", content, delimiter="~~")
    with pytest.raises(DatasetError, match=r"line 2: 2 fields, but the header has 1; .*--delimiter"):
        load("c.csv", "prompt;response\na,b;c\n", delimiter=",")


def test_blank_lines_before_the_header_and_empty_header_cells_are_left_out(load):
    assert texts(load("a.csv", "\n\r\n,,\nprompt,response\n\na,b\n")) == [[("user", "a"), ("assistant", "b")]]
    imported = load("b.csv", "prompt,response,,\na,b,,\nc,d,,\n")
    assert texts(imported) == [[("user", "a"), ("assistant", "b")], [("user", "c"), ("assistant", "d")]]
    assert (imported.folder / "source.jsonl").read_text().splitlines()[0] == '{"prompt":"a","response":"b"}'


def test_a_cell_under_an_empty_name_keeps_its_place(load):
    imported = load("a.csv", "prompt,,response\na,x,b\nc,,d\n")
    rows = [json.loads(line) for line in (imported.folder / "source.jsonl").read_text().splitlines()]
    assert rows == [{"prompt": "a", "column 2": "x", "response": "b"}, {"prompt": "c", "response": "d"}]


@pytest.mark.parametrize(
    "header", ["Query,Answer", " QUERY , Response", "Prompt, Response", "Question,ANSWER"]
)
def test_columns_are_recognised_in_any_case_and_with_spaces(load, header):
    imported = load("a.csv", f"{header}\nq,a\n")
    assert texts(imported) == [[("user", "q"), ("assistant", "a")]]


def test_fixed_columns_are_recognised_in_any_case_too(load):
    rows = [{"Instruction": "do", "Input": "this", "OUTPUT": "a", "System": "s"}]
    assert texts(load("a.jsonl", lines(rows))) == [
        [("system", "s"), ("user", "do\n\nthis"), ("assistant", "a")]
    ]
    talk = [{"Messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    assert texts(load("b.jsonl", lines(talk))) == [[("user", "q"), ("assistant", "a")]]


def test_a_message_quotes_names_that_differ_only_in_spaces(load):
    with pytest.raises(DatasetError, match=r"needs the columns 'prompt', 'x'; the data has 'prompt', ' x'"):
        load("a.jsonl", lines([{"prompt": "p", " x": "r"}]), prompt_column="prompt", response_column="x")


def test_a_python_list_as_text_says_what_it_is(load):
    with pytest.raises(DatasetError, match=r"is a Python list as text, with single quotes; write it as JSON"):
        load("a.csv", "conversations\n\"[{'from': 'human', 'value': 'q'}, {'from': 'gpt', 'value': 'a'}]\"\n")


# What is trained on


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


# Mapped by hand


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


# Several files


def test_a_folder_of_shards_is_one_data_set_in_natural_order(tmp_path):
    for number in (10, 2, 1):
        rows = [{"prompt": f"{number} {i}", "response": "r"} for i in range(2)]
        (tmp_path / f"part-{number}.jsonl").write_text("\n" + lines(rows).rstrip("\n"))
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "part-2.jsonl").write_text('{"prompt": "2 0", "response": "r"}\r\n\r\n{broken')
    for source in (tmp_path, tmp_path / "part-*.jsonl"):
        imported = import_dataset(str(source), tmp_path / "made" / source.name.replace("*", "all"))
        prompts = [turns[0]["content"] if turns else None for turns in imported.rows["turns"]]
        assert prompts == ["1 0", "1 1", "2 0", None, "10 0", "10 1"]
        assert problems(imported)[0].startswith("row 4 (part-2.jsonl, row 2): not JSON")
    limited = import_dataset(str(tmp_path), tmp_path / "made" / "few", limit=3)
    assert limited.facts.rows == 3


def test_a_folder_of_several_types_asks_for_a_pattern(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(ALPACA))
    (tmp_path / "b.csv").write_text("prompt,response\na,b\n")
    with pytest.raises(
        DatasetError, match=r"files of several types \(.csv, .jsonl\); choose one type with a pattern"
    ):
        import_dataset(str(tmp_path), tmp_path / "made")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="has no data files"):
        import_dataset(str(tmp_path / "empty"), tmp_path / "made")


def test_a_folder_of_save_to_disk_is_read_by_split(tmp_path):
    from datasets import Dataset, DatasetDict

    made = Dataset.from_list(ALPACA)
    made.save_to_disk(tmp_path / "one", num_shards=2)
    DatasetDict({"train": made, "test": made.select([1])}).save_to_disk(tmp_path / "both")
    assert import_dataset(str(tmp_path / "one"), tmp_path / "a").facts.rows == 4
    assert import_dataset(str(tmp_path / "both"), tmp_path / "b", split="test").facts.rows == 1
    with pytest.raises(DatasetError, match="has no split 'dev'; allowed: train, test"):
        import_dataset(str(tmp_path / "both"), tmp_path / "c", split="dev")


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_an_arrow_file_is_read(tmp_path, kind):
    table = pa.Table.from_pylist(ALPACA)
    make = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with make(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    assert import_dataset(str(tmp_path / "a.arrow"), tmp_path / "made").facts.rows == 4
