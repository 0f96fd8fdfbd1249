"""JSON arrays read piece by piece: the same values as `json.loads` of the whole file, in little memory."""

import gzip
import io
import json
import math
import subprocess
import sys
from itertools import islice

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staff_engine.data.files import json_arrays
from staff_engine.data.files import lines as lines_module
from staff_engine.data.files.data_file import DataFile
from staff_engine.data.files.json_arrays import json_rows
from staff_engine.data.files.kinds import write_source
from staff_engine.errors import DatasetError

CHUNKS = (1, 2, 3, 5, 8, 13, 64, 2**18)


def read(path, chunk, monkeypatch):
    monkeypatch.setattr(json_arrays, "CHUNK", chunk)
    with DataFile(path).open_text() as file:
        return list(json_rows(file, DataFile(path)))


def whole(raw):
    """The rows of a file that is read at once: the oracle."""
    content = json.loads(raw.decode(json.detect_encoding(raw), "surrogateescape"))
    if isinstance(content, dict):
        (content,) = [value for value in content.values() if isinstance(value, list)]
    return content


def spelled(rows):
    """Every value with its type and, of floats, all digits."""
    return repr(rows)


@pytest.fixture
def file(tmp_path):
    def write(raw, name="a.json"):
        path = tmp_path / name
        path.write_bytes(raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass"))
        return path

    return write


ODD = [
    "[]",
    " [ ] \n",
    '[{"a": 1.10, "b": 1e400, "c": -1E-400, "d": 0.1000000000000000055, "e": -0.0, "f": -0}]',
    '[{"a": NaN, "b": Infinity, "c": -Infinity}, NaN, -Infinity, Infinity]',
    '[{"a": 123456789012345678901234567890, "a": 2, "b": [1, 1.0, 1e5, 1E+5, 12e-3]}]',
    r'[{"a": "\ud83d\ude00 \ud83d x \ude00 \u0000 \/ \"]}[{,"}, "\ud83d", "\ud83d\ude00"]',
    '[{"a": "тест 😀 \u2028"}, "\u00e9", [[], {}, [{}]], null, true, false, 1, 12.5e3, ""]',
    '\r\n\t[\n  {\n    "a" :  1\n  } ,\n\n 2\n]\n\n',
    "[1,2 ,3, 4.25 ,5e2,-6 ]",
    "[" + ",".join(str(10**i) for i in range(40)) + "]",
]


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("raw", ODD)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_the_values_are_those_of_the_whole_file_whatever_the_pieces(file, monkeypatch, raw, chunk, encoding):
    path = file(raw.encode(encoding))
    assert spelled(read(path, chunk, monkeypatch)) == spelled(whole(path.read_bytes()))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(
    rows=st.lists(values, max_size=6),
    ascii=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
    chunk=st.integers(1, 40),
    wrapped=st.booleans(),
)
def test_any_array_is_read_as_json_reads_it(tmp_path_factory, rows, ascii, indent, chunk, wrapped):
    content = {"info": {"rows": 1}, "n": 1.5, "data": rows, "last": "[1, 2"} if wrapped else rows
    raw = json.dumps(content, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass")
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        assert spelled(read(path, chunk, patch)) == spelled(whole(raw))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_bytes_that_are_no_text_hurt_their_row_only(file, monkeypatch, chunk):
    path = file(b'[{"a": "\xff\xe2\x82x"}, {"a": "\xe2\x82\xac"}]')
    assert read(path, chunk, monkeypatch) == [{"a": "\udcff\udce2\udc82x"}, {"a": "€"}]


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        ('{"version": 1.10, "data": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
        ('{"data": [], "meta": {"list": [1, 2]}}', []),
        ('{"data": [1], "data": 5, "rows": [2, 3]}', [2, 3]),
        ('{"data": [1], "data": [4]}', [4]),
        ('{"data": 5, "data": [4], "x": "]"}', [4]),
    ],
)
def test_the_only_list_of_an_object_is_read_and_of_equal_names_the_last(file, monkeypatch, raw, rows, chunk):
    assert read(file(raw), chunk, monkeypatch) == rows


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (
            '{"a": [1], "b": [2]}',
            "it needs exactly one list of rows, or the file must be an array of rows",
        ),
        ('{"a": {"b": [1]}}', "is a JSON object with 0 lists"),
        ("{}", "is a JSON object with 0 lists"),
        ('"text"', "contains a str, not an array of rows"),
        ("12.5", "contains a float"),
        ("null", "contains a NoneType"),
    ],
)
def test_what_has_no_array_of_rows_says_what_it_is(file, monkeypatch, raw, says, chunk):
    with pytest.raises(DatasetError, match=says):
        read(file(raw), chunk, monkeypatch)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(
    "raw",
    [
        "",
        "  \n ",
        "[",
        "[1",
        "[1,",
        "[,]",
        "[1 2]",
        '[{"a": 1} {"a": 2}]',
        '[{"a": 1}]\n  x',
        '[{"a": 1}] [',
        '[\n{"a": 1},\n{"a": tru}, {"a": "later"}]',
        '[{"a": "not ended}]',
        '[{"a" 1}]',
        '[{"a": 1,}]',
        "[01]",
        "[1.]",
        "[-]",
        "[1e]",
        "[nul]",
        "[+1]",
        r'["\ud83"]',
        r'["\x"]',
        '["a\nb"]',
        '{"a": [1, 2}',
        "tru",
        "[1}",
    ],
)
def test_what_is_not_json_says_so_with_the_same_words_and_the_place(file, monkeypatch, raw, chunk):
    with pytest.raises(ValueError) as expected:
        json.loads(raw)
    path = file(raw)
    with pytest.raises(DatasetError) as found:
        read(path, chunk, monkeypatch)
    assert str(found.value) == f"{path} is not JSON: {expected.value}"


@pytest.mark.parametrize("raw", ['{"a": [1] "b": 2}', '{"a": [1], 2: 3}', '{"a" [1]}', '{"a": [1]', "{1}"])
def test_an_object_that_is_not_json_says_so_with_the_place(file, monkeypatch, raw):
    with pytest.raises(DatasetError, match=r"is not JSON: Expecting .*: line 1 column \d+ \(char \d+\)"):
        read(file(raw), 3, monkeypatch)


@pytest.mark.parametrize("raw", ["[1,]", '[{"a": 1}, \n]', '{"a": [1],}'])
def test_a_trailing_comma_is_an_error(file, monkeypatch, raw):
    with pytest.raises(DatasetError, match="is not JSON: Expecting "):
        read(file(raw), 3, monkeypatch)


def test_numbers_of_too_many_digits_and_too_deep_lists_are_errors_of_the_file(file, monkeypatch):
    for raw in (f"[{'9' * 5000}]", "[" * 100_000 + "]" * 100_000):
        with pytest.raises(DatasetError, match="is not JSON"):
            read(file(raw), 2**18, monkeypatch)


def test_an_element_larger_than_a_piece_is_read_in_time_that_grows_with_its_size(file, monkeypatch):
    pieces = []

    class Counted(io.BytesIO):
        def read(self, size=-1):
            pieces.append(size)
            return super().read(size)

    monkeypatch.setattr(json_arrays, "CHUNK", 16)
    raw = json.dumps(["x" * 100_000, 1]).encode()
    assert list(json_rows(Counted(raw), DataFile(file(raw)))) == ["x" * 100_000, 1]
    assert len(pieces) < 20  # each twice as large as the one before


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_the_lines_written_are_those_of_the_whole_file(file, tmp_path, monkeypatch, wrapped, suffix):
    monkeypatch.setattr(json_arrays, "CHUNK", 50)
    rows = [{"prompt": f"п {i}", "completion": i * 1.1, "more": [math.inf, None]} for i in range(100)]
    raw = json.dumps({"info": "x", "data": rows} if wrapped else rows, indent=1).encode()
    packed = {
        "": raw,
        ".gz": gzip.compress(raw),
        ".zst": pa.Codec("zstd").compress(raw, asbytes=True),
    }[suffix]
    path = file(packed, f"a.json{suffix}")
    for limit in (None, 0, 7, 1000):
        assert not write_source(DataFile(path), tmp_path / "lines", limit)
        expected = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows[:limit]]
        assert (tmp_path / "lines").read_text(encoding="utf-8").splitlines() == expected


def test_what_stands_behind_the_rows_that_are_wanted_is_not_read(file, tmp_path, monkeypatch):
    monkeypatch.setattr(json_arrays, "CHUNK", 16)
    path = file("[" + '{"a": 1}, ' * 50 + "broken")
    write_source(DataFile(path), tmp_path / "lines", 20)
    assert len((tmp_path / "lines").read_bytes().splitlines()) == 20


def test_lines_are_told_from_an_array_without_reading_an_endless_line(file, monkeypatch):
    monkeypatch.setenv("STAFF_MAX_VALUE", "100")

    def is_lines(path):
        with path.open("rb") as opened:
            return lines_module.is_lines(opened)

    assert is_lines(file('\n\n{"a": 1}\n\n{"a": 2}'))
    assert is_lines(file('{"a": 1}\n{"a": "' + "x" * 500))
    assert not is_lines(file('{"a": 1}\n\n  \n'))
    assert not is_lines(file('{"data": [' + "1, " * 100 + "1]}\n2"))
    assert not is_lines(file('[{"a": 1}]\n[{"a": 1}]'))
    assert not is_lines(file('{\n"a": 1}'))


PEAK = """
import sys
from pathlib import Path
from staff_engine.data.files.data_file import DataFile
from staff_engine.data.files.kinds import write_source
from staff_engine.system.memory import peak_memory
before = peak_memory()
write_source(DataFile(Path(sys.argv[1])), Path(sys.argv[2]))
print(peak_memory() - before)
"""


@pytest.mark.long
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_array_of_200_mb_takes_little_memory(tmp_path, wrapped):
    row = json.dumps({"prompt": "What is “this”? " * 30, "completion": "An answer. " * 40, "n": 1.25})
    path = tmp_path / "large.json"
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"version": 1}, "data": [' if wrapped else "[")
        file.write(",".join([row] * 1000))
        while file.tell() < 200e6:
            file.write("," + ",".join([row] * 1000))
        file.write("]}" if wrapped else "]")
    command = [sys.executable, "-c", PEAK, str(path), str(tmp_path / "source.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150e6
    assert (tmp_path / "source.jsonl").stat().st_size > 150e6


def test_rows_come_before_the_end_is_read(file):
    path = file("[1, 2, 3, oops")
    with path.open("rb") as opened:
        assert list(islice(json_rows(opened, DataFile(path)), 3)) == [1, 2, 3]
