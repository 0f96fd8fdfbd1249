"""Damaged files of every kind end in a DatasetError or are read, and none takes long."""

import bz2
import gzip
import io
import json
import lzma
import random
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.data.detection import choose_mapping
from staff_engine.data.files.data_file import DataFile
from staff_engine.data.files.kinds import KINDS, write_source
from staff_engine.data.files.lines import parse_line, read_lines
from staff_engine.data.formats import normalise
from staff_engine.errors import DatasetError

SLOWEST = 5.0
"""Seconds for one file."""

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"q {i} ü"},
            {"role": "assistant", "content": "a", "weight": i % 2, "tool_calls": None},
        ],
        "n": i,
        "f": i / 3,
        "tags": ["x", None],
        "text": "y" * i,
    }
    for i in range(12)
]
PAIRS = [{"prompt": f"p {i}, ü", "response": f'r "{i}"'} for i in range(12)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def table():
    typed = pa.Table.from_pylist(ROWS)
    typed = typed.append_column("when", pa.array(range(12), pa.timestamp("us", "UTC")))
    typed = typed.append_column("price", pa.array(range(12), pa.int32()).cast(pa.decimal128(12, 2)))
    return typed.append_column("map", pa.array([[("k", 1)]] * 12, pa.map_(pa.string(), pa.int8())))


def parquet(compression, **more):
    out = io.BytesIO()
    pq.write_table(table(), out, compression=compression, **more)
    return out.getvalue()


def arrow(make):
    out = io.BytesIO()
    with make(out, table().schema) as writer:
        writer.write_table(table())
    return out.getvalue()


def csv(delimiter):
    rows = [["prompt", "response"], *(list(row.values()) for row in PAIRS)]
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in rows]
    return "\r\n".join(delimiter.join(row) for row in quoted).encode()


def whole(content):
    return content


def pack_gzip(content):
    return gzip.compress(content, 1, mtime=0)


def pack_zstd(content):
    return pa.Codec("zstd").compress(content, asbytes=True)


def pack_xz(content):
    return lzma.compress(content, preset=0)


SEEDS = {
    ".jsonl": (whole, [LINES, LINES.decode().encode("utf-16"), json.dumps(PAIRS, indent=1).encode()]),
    ".json": (
        whole,
        [json.dumps(ROWS).encode(), json.dumps({"v": [1], "data": PAIRS}, indent=1).encode(), LINES],
    ),
    ".csv": (whole, [csv(","), csv(";"), csv("\t").decode().encode("utf-16")]),
    ".tsv": (whole, [csv("\t")]),
    ".parquet": (
        whole,
        [parquet("zstd"), parquet("none", use_dictionary=False), parquet("snappy", row_group_size=5)],
    ),
    ".arrow": (whole, [arrow(pa.ipc.new_stream), arrow(pa.ipc.new_file)]),
    ".jsonl.gz": (pack_gzip, [LINES]),
    ".json.gz": (pack_gzip, [json.dumps(ROWS).encode()]),
    ".jsonl.zst": (pack_zstd, [LINES]),
    ".csv.bz2": (bz2.compress, [csv(",")]),
    ".jsonl.xz": (pack_xz, [LINES]),
    ".parquet.gz": (pack_gzip, [parquet("none")]),
}
"""How each kind of file is packed, and whole contents, which are damaged before or after that."""

PIECES = [
    b"",
    b"\x00",
    b"\xff" * 4,
    b"{",
    b"[" * 50,
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\\ud800",
    b"1e999",
    b"\xef\xbb\xbf",
]
"""What is put into a file."""


def damaged_file(suffix, draw):
    """A file of a kind, damaged before or after it is packed."""
    pack, contents = SEEDS[suffix]
    content = draw.choice(contents)
    return pack(damaged(content, draw)) if draw.randrange(2) else damaged(pack(content), draw)


def damaged(seed, draw):
    """Bytes with one to four faults: changed bytes, parts that are missing, repeated or from elsewhere."""
    raw = bytearray(seed)
    for _ in range(draw.randrange(1, 5)):
        start = draw.randrange(len(raw) + 1)
        end = min(len(raw), start + draw.choice([1, 1, 2, 8, 64]))
        fault = draw.randrange(6)
        if fault == 0:
            raw[start:end] = draw.randbytes(end - start)
        elif fault == 1 and start < len(raw):
            raw[start] ^= 1 << draw.randrange(8)
        elif fault == 2:
            del raw[start:end]
        elif fault == 3:
            raw[start:start] = raw[start:end] * draw.choice([1, 3])
        elif fault == 4:
            raw[start:start] = draw.choice(PIECES)
        else:
            del raw[start:]
    return bytes(raw)


def read(path, target):
    """Read a file as a run does, to the turns of every row; returns how many rows are usable."""
    write_source(DataFile(path), target)
    rows = []
    for line in read_lines(target):
        try:
            rows.append(parse_line(line))
        except DatasetError:
            continue
    mapping = choose_mapping(rows)
    usable = 0
    for row in rows:
        try:
            normalise(row, mapping)
        except DatasetError:
            continue
        usable += 1
    return usable


def fuzz(suffix, folder, inputs):
    draw = random.Random(0)
    path, target = folder / f"a{suffix}", folder / "lines"
    outcomes = {"read": 0, "refused": 0}
    for number in range(inputs):
        content = damaged_file(suffix, draw)
        path.write_bytes(content)
        begun = time.perf_counter()
        try:
            read(path, target)
            outcomes["read"] += 1
        except DatasetError:
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"input {number} of {suffix} ends in {error!r}") from error
        assert time.perf_counter() - begun < SLOWEST, f"input {number} of {suffix}"
    return outcomes


def test_every_kind_of_file_is_damaged_here():
    assert {f".{suffix.split('.')[1]}" for suffix in SEEDS} == set(KINDS)


@pytest.mark.parametrize("suffix", SEEDS)
def test_the_whole_files_can_be_read(tmp_path, suffix):
    pack, contents = SEEDS[suffix]
    for content in contents:
        (tmp_path / f"a{suffix}").write_bytes(pack(content))
        assert read(tmp_path / f"a{suffix}", tmp_path / "lines") > 0


@pytest.mark.parametrize("suffix", SEEDS)
def test_a_damaged_file_is_read_or_refused(tmp_path, suffix):
    outcomes = fuzz(suffix, tmp_path, 300)
    assert outcomes["refused"] > 20 and outcomes["read"] > 0


@pytest.mark.long
@pytest.mark.parametrize("suffix", SEEDS)
def test_20000_damaged_files_are_read_or_refused(tmp_path, suffix):
    outcomes = fuzz(suffix, tmp_path, 20_000)
    assert sum(outcomes.values()) == 20_000
    assert outcomes["refused"] > 1_000 and outcomes["read"] > 0
