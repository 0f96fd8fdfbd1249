"""Check every row of a data set: whether it is usable, how long it is, whether it is a duplicate.

Memory grows by 40 bytes per row, and briefly by about as much again while duplicates are
searched: 10,000,000 rows take less than 1 GB. Duplicates are detected by 64-bit digests. The chance
that two different rows among 10,000,000 have the same digest is 3 in a million.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np

from staff_engine.data.dataset import choose_for_lines, turns_of
from staff_engine.data.fetching import Fetched, data_file, fetch_lines
from staff_engine.data.files.kinds import is_plain_lines
from staff_engine.data.files.lines import Line, read_lines
from staff_engine.data.first_rows import FIRST, shown_line
from staff_engine.data.formats import normalise
from staff_engine.data.inspection.duplicates import Groups, first_of_each, repeated
from staff_engine.data.inspection.findings import DataChoice, Duplicates, Findings, Same, measure
from staff_engine.data.inspection.tally import Tally
from staff_engine.data.locating import check_source, files_of
from staff_engine.data.reading import Mapping
from staff_engine.data.repeats.leaving_out import rows_to_leave_out
from staff_engine.data.turns import Turn, is_response
from staff_engine.errors import DatasetError
from staff_engine.system.files import replaced

EXAMPLES = 20
"""Maximum number of duplicates that are shown, the most frequent first."""

NUMBERS_SHOWN = 10
ANSWERS_SHOWN = 3
TEXT_SHOWN = 600
TEXT_LISTED = 1000

LISTED = 100_000
"""Maximum number of unusable rows that are listed with their problem; all are counted."""

REASONS = 30
"""Maximum number of different reasons."""

PLACES = 5
"""Rows that are named for each reason."""

SOURCE_FILE = "source.jsonl"
FIRST_FILE = "first.jsonl"
PROBLEMS_FILE = "problems.parquet"
OTHER = "other reasons"
STEP = 1000


@dataclass(frozen=True)
class _Seen:
    """One entry for each usable row."""

    numbers: array[int] = field(default_factory=lambda: array("q"))
    starts: array[int] = field(default_factory=lambda: array("q"))  # of its line in the file
    prompts: array[int] = field(default_factory=lambda: array("Q"))
    pairs: array[int] = field(default_factory=lambda: array("Q"))
    prompt_lengths: array[int] = field(default_factory=lambda: array("I"))
    response_lengths: array[int] = field(default_factory=lambda: array("I"))

    def add(self, line: Line, turns: list[Turn]) -> None:
        prompt, response = prompt_and_response(turns)
        self.numbers.append(line.number)
        self.starts.append(line.start)
        self.prompts.append(_digest(prompt))
        self.pairs.append(_digest(turns))
        self.prompt_lengths.append(sum(len(turn["content"]) for turn in prompt))
        self.response_lengths.append(sum(len(turn["content"]) for turn in response))


def inspect_data(
    choice: DataChoice, folder: Path, on_progress: Callable[[int, float], None] | None = None
) -> Findings:
    """Read a data set as a run would, and check every row.

    A hub data set is downloaded with the `datasets` library, which is imported only then.

    Parameters
    ----------
    folder
        Where to write `first.jsonl`, the first rows, and `problems.parquet`, the rows that cannot
        be used (columns number, reason, detail, text; the first `LISTED`).
    on_progress
        Called regularly with the number of checked rows, and their share of all rows.

    Raises
    ------
    DatasetError
        If it cannot be read or no format fits; not if rows, or even all rows, cannot be used.
    """
    lines, fetched = _lines(choice, folder)
    try:
        return _look_at(choice, lines, fetched, folder, on_progress or (lambda rows, share: None))
    except OSError as error:
        raise DatasetError(f"data set {choice.dataset!r} cannot be read: {error}") from None
    finally:
        (folder / SOURCE_FILE).unlink(missing_ok=True)


def prompt_and_response(turns: Iterable[Turn]) -> tuple[list[Turn], list[Turn]]:
    """The turns that a model reads, and those that it is trained to produce."""
    prompt: list[Turn] = []
    response: list[Turn] = []
    for turn in turns:
        (response if is_response(turn) else prompt).append(turn)
    return prompt, response


def reason_of(problem: str) -> str:
    """A row's problem without its details, so that similar problems count as one reason."""
    return re.sub(r" \(.*\)$", "", problem, flags=re.DOTALL)


def _lines(choice: DataChoice, folder: Path) -> tuple[Path, Fetched]:
    """A file of JSON lines with the rows, written if needed; and what its rows are."""
    check_source(choice.dataset, choice.split)
    files = files_of(choice.dataset, choice.split)
    if len(files) == 1 and is_plain_lines(data_file(files[0], choice)):
        return files[0], Fetched("line")
    made = folder / SOURCE_FILE
    return made, fetch_lines(choice.dataset, made, choice.split, choice.limit, choice)


def _look_at(
    choice: DataChoice, lines: Path, fetched: Fetched, folder: Path, on_progress: Callable[[int, float], None]
) -> Findings:
    _keep_first(lines, folder / FIRST_FILE)
    mapping = choose_for_lines(lines, fetched, choice.dataset, choice)
    left_out = rows_to_leave_out(lines, mapping, choice, fetched, choice.limit)
    seen = _Seen()
    tally = Tally(mapping)
    places: dict[str, list[int]] = {}
    reasons: Counter[str] = Counter()
    rows = 0
    size = max(lines.stat().st_size, 1)
    with _problem_table(folder / PROBLEMS_FILE) as list_row:
        for line in itertools.islice(read_lines(lines), choice.limit):
            rows += 1
            try:
                row = tally.parse(line)
                turns = normalise(row, mapping)
                if line.number in left_out:
                    raise DatasetError(left_out[line.number])
            except DatasetError as error:
                reason = reason_of(str(error))
                if reason not in reasons and len(reasons) >= REASONS:
                    reason = OTHER
                reasons[reason] += 1
                if reasons[reason] <= PLACES:
                    places.setdefault(reason, []).append(line.number)
                list_row(line, reason, str(error))
            else:
                tally.count(row, turns)
                seen.add(line, turns)
            if rows % STEP == 0:
                on_progress(rows, max(line.end / size, rows / (choice.limit or size)))
    on_progress(rows, 1.0)
    with lines.open("rb") as file:
        same, conflicts = _duplicates(seen, lambda index: _turns_at(file, seen, index, mapping))
    return Findings(
        format=mapping.format,
        prompt_column=mapping.prompt_column,
        response_column=mapping.response_column,
        unit=fetched.unit,
        rows=rows,
        usable=len(seen.numbers),
        prompt=measure(np.frombuffer(seen.prompt_lengths, np.uint32)),
        response=measure(np.frombuffer(seen.response_lengths, np.uint32)),
        same=same,
        conflicts=conflicts,
        reasons=dict(reasons.most_common()),
        places={reason: tuple(numbers) for reason, numbers in places.items()},
        not_read=tally.not_read,
        notes=tally.notes(),
        listed=min(reasons.total(), LISTED),
    )


def _keep_first(lines: Path, target: Path) -> None:
    """Copy the first rows, so that they can be shown without the source."""
    with replaced(target) as part, part.open("wb") as out:
        for line in itertools.islice(read_lines(lines), FIRST + 1):
            out.write(line.text + b"\n")


@contextmanager
def _problem_table(path: Path) -> Iterator[Callable[[Line, str, str], None]]:
    """Yield a function that adds a row to a Parquet file; it does nothing after `LISTED` rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("number", pa.int64()), ("reason", pa.string()), ("detail", pa.string()), ("text", pa.string())]
    )
    rows: list[tuple[int, str, str, str]] = []
    listed = 0

    with replaced(path) as part, pq.ParquetWriter(part, schema) as writer:

        def flush() -> None:
            columns = list(zip(*rows, strict=True)) or [()] * len(schema)
            writer.write_table(pa.table([list(column) for column in columns], schema=schema))
            rows.clear()

        def add(line: Line, reason: str, detail: str) -> None:
            nonlocal listed
            if listed == LISTED:
                return
            listed += 1
            rows.append((line.number, reason, detail, shown_line(line, TEXT_LISTED)))
            if len(rows) == STEP:
                flush()

        yield add
        flush()


def _duplicates(seen: _Seen, turns_at: Callable[[int], list[Turn]]) -> tuple[Duplicates, Duplicates]:
    """Groups of equal rows, and groups of different rows with the same prompt."""
    pairs = np.frombuffer(seen.pairs, np.uint64)
    different = first_of_each(pairs)
    alike = repeated(pairs)
    conflicts = repeated(np.frombuffer(seen.prompts, np.uint64)[different])

    def described(groups: Groups, indices: np.ndarray) -> Duplicates:
        examples = []
        for group in range(min(len(groups), EXAMPLES)):
            members = indices[groups.members(group)].tolist()
            texts = [prompt_and_response(turns_at(index)) for index in members[:ANSWERS_SHOWN]]
            examples.append(
                Same(
                    rows=len(members),
                    numbers=tuple(seen.numbers[index] for index in members[:NUMBERS_SHOWN]),
                    prompt=_joined(texts[0][0]),
                    responses=tuple(dict.fromkeys(_joined(response) for _, response in texts)),
                )
            )
        return Duplicates(groups=len(groups), rows=int(groups.sizes.sum()), examples=tuple(examples))

    return described(alike, np.arange(len(pairs))), described(conflicts, different)


def _turns_at(file: IO[bytes], seen: _Seen, index: int, mapping: Mapping) -> list[Turn]:
    """Read a row again."""
    file.seek(seen.starts[index])
    text = file.readline().rstrip(b"\r\n")
    return turns_of(Line(seen.numbers[index], 0, len(text), text), mapping)[0]


def _joined(turns: list[Turn]) -> str:
    text = "\n\n".join(turn["content"] for turn in turns)
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"


def _digest(turns: Iterable[Turn]) -> int:
    """A 64-bit digest of roles and texts."""
    parts = (f"{turn['role']} {len(turn['content'])} {turn['content']}" for turn in turns)
    return int.from_bytes(blake2b("".join(parts).encode(), digest_size=8).digest(), "little")
