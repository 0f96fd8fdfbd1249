"""Encodings, delimiters and headers as people bring them, with the right answer to each kind of trouble."""

import json

import pytest

from staff_engine.errors import DatasetError
from tests.helpers.field_data import ALPACA, lines, problems, texts


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
