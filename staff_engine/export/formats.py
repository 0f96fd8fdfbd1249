"""The export formats: one registry entry each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.data.reading import Mapping
from staff_engine.data.turns import LABELS, Turn
from staff_engine.errors import PlanError
from staff_engine.export import layouts, llama_factory
from staff_engine.export.rows import Rows
from staff_engine.export.tabular import is_formula
from staff_engine.export.writers import (
    Csv,
    JsonTexts,
    Parquet,
    RowNumbers,
    Writer,
    Zstandard,
    laid_out,
)
from staff_engine.system.words import counted

if TYPE_CHECKING:
    from staff_engine.data.dataset import Facts


@dataclass(frozen=True)
class Loss:
    """A part of the imported rows that a format does not include."""

    part: str
    """Its name for people."""
    in_line: Callable[[bytes], object] | None = None
    """Whether an imported line has the part."""
    turns: Callable[[Sequence[Turn]], bool] | None = None
    """Whether the turns of a row have the part; instead of its line."""
    applies: Callable[[Mapping], bool] = lambda mapping: True
    """Whether rows that are read with a mapping can lose it."""

    def rows(self, rows: Rows) -> list[int]:
        """The ids of the rows that have the part."""
        if not self.applies(rows.facts.mapping):
            return []
        if self.in_line:
            return rows.matching_lines(self.in_line)
        return rows.matching_turns(self.turns) if self.turns else []


@dataclass(frozen=True)
class Companion:
    """A file next to the exported one that its reader needs."""

    name: str
    """The name of the file."""
    content: Callable[[Path, Sequence[str]], dict[str, Any]]
    """The content of the file for an exported file with this path and carried columns. Raises StaffError."""
    write: Callable[[Path, dict[str, Any]], None]
    """Writes that content to a path."""
    example: Callable[[str, Sequence[str]], dict[str, Any]]
    """The entry of the file for an exported file with this name and carried columns."""


@dataclass(frozen=True)
class Skipping:
    """Rows that the format can include but its reader skips."""

    skips: Callable[[Sequence[Turn]], bool]
    why: str
    """Ends a sentence about the rows."""


@dataclass(frozen=True)
class ExportFormat:
    """An export format."""

    name: str
    """Its name in commands and links: a-z and -."""
    label: str
    """Its name for people."""
    sentence: str
    """What the file contains."""
    writer: Writer
    suffix: str = ".jsonl"
    preview_language: str | None = "json"
    """The language for highlighting the preview; None: no highlighting."""
    why_no_scores: str = ""
    """Why the format cannot include scores; empty if it can."""
    imported_as: Mapping | None = None
    """The record format whose rows already have this layout, so that they stay unchanged."""
    losses: tuple[Loss, ...] = ()
    companion: Companion | None = None
    skipping: Skipping | None = None
    formulas: str = ""
    """What happens to text that a spreadsheet reads as a formula; empty if none reads the file."""

    @property
    def holds_scores(self) -> bool:
        """Whether rows can include their scores."""
        return not self.why_no_scores

    @property
    def cannot_carry(self) -> str:
        """What the format does not include, as a sentence; empty if it includes everything."""
        *others, last = [loss.part for loss in self.losses] or [""]
        parts = f"{', '.join(others)} or {last}" if others else last
        other = EXPORT_FORMATS[DEFAULT_FORMAT].label
        return f"{self.label} does not include the {parts} of a row; {other} does." if parts else ""

    def keeps(self, facts: Facts) -> bool:
        """Whether the rows of an import already have this layout."""
        return self.imported_as == replace(facts.mapping, reasoning=True, without_bad=False, roles=())

    def writer_of(self, facts: Facts) -> Writer:
        """The writer for the rows of an import."""
        return _AS_IMPORTED if self.keeps(facts) else self.writer

    def warnings(self, rows: Rows) -> list[str]:
        """Warnings about parts of these rows that are lost, and rows that the format's reader skips."""
        warnings = []
        for loss in () if self.keeps(rows.facts) else self.losses:
            losing = loss.rows(rows)
            if losing:
                warnings.append(
                    f"{self.name} does not include the {loss.part} of {_some(losing)}; {DEFAULT_FORMAT} does"
                )
        skipped = rows.matching_turns(self.skipping.skips) if self.skipping else []
        if self.skipping and skipped:
            warnings.append(f"{self.label} will skip {_some(skipped)}, {self.skipping.why}")
        formulas = rows.matching_objects(_has_formula) if self.formulas else []
        if formulas:
            warnings.append(
                f"{_some(formulas)} have text that a spreadsheet reads as a formula; {self.formulas}"
            )
        return warnings


DEFAULT_FORMAT = "jsonl"

_AS_IMPORTED = JsonTexts(Rows.lines, array=None)

_TOOL_CALLS = Loss("tool calls", re.compile(rb'"(tool_calls|function_call|tools)"\s*:\s*["\[{]').search)
_MEDIA = Loss("images, videos and audios", re.compile(rb'"(images|videos|audios)"\s*:\s*\[[^\]]').search)
_MIXED_CALLS = Loss("tool calls next to text", layouts.has_text_and_calls)
_WEIGHTS = Loss("weights of turns", turns=layouts.has_untrained)
_REJECTED = Loss(
    "rejected answers",
    re.compile(rb'"rejected"\s*:', re.IGNORECASE).search,
    applies=lambda mapping: mapping.format == "preference",
)
_REASONING = Loss(
    "reasoning",
    re.compile(rb'"(reasoning_content|reasoning|thinking)"\s*:\s*"[^"]').search,
    applies=lambda mapping: not mapping.reasoning,
)
_LABELS = Loss(
    "labels of bad answers",
    re.compile(rb'"(label|kto_tag)"\s*:\s*(true|false)').search,
    applies=lambda mapping: mapping.response_column not in LABELS,
)

_ALL_LAYOUTS = (_REJECTED, _REASONING, _LABELS)
_CONVERSATION_LAYOUTS = (_MIXED_CALLS, *_ALL_LAYOUTS)
_TEXT_LAYOUTS = (_TOOL_CALLS, _MEDIA, *_ALL_LAYOUTS)

_FORMATS = (
    ExportFormat(
        "jsonl",
        "JSON lines",
        "The imported rows unchanged, byte for byte, one per line.",
        JsonTexts(Rows.lines, array=False),
    ),
    ExportFormat(
        "jsonl-zst",
        "JSON lines, compressed",
        "The imported rows unchanged, byte for byte, one per line, compressed with Zstandard.",
        Zstandard(JsonTexts(Rows.lines, array=False)),
        suffix=".jsonl.zst",
    ),
    ExportFormat(
        "json",
        "JSON",
        "The imported rows unchanged, byte for byte, in one JSON array.",
        JsonTexts(Rows.lines, array=True),
        suffix=".json",
    ),
    ExportFormat(
        "csv",
        "CSV",
        "The fields of the imported rows as a table. Lists and objects become JSON text.",
        Csv(),
        suffix=".csv",
        preview_language=None,
        formulas="the format spreadsheet writes it as text",
    ),
    ExportFormat(
        "spreadsheet",
        "CSV for a spreadsheet",
        "CSV whose text is never a formula: text that begins with = + - or @ gets an apostrophe. For reading,"
        " not for training.",
        Csv(spreadsheet=True),
        suffix=".csv",
        preview_language=None,
        formulas="it got an apostrophe, so the file is not for training",
    ),
    ExportFormat(
        "parquet",
        "Parquet",
        "The fields of the imported rows as a compressed table with types.",
        Parquet(),
        suffix=".parquet",
    ),
    ExportFormat(
        "indices",
        "Row numbers",
        "Only the row numbers in the imported data, one per line. The first row is 0.",
        RowNumbers(),
        suffix=".txt",
        preview_language=None,
        why_no_scores="indices contains only row ids, no scores",
    ),
    ExportFormat(
        "alpaca",
        "Alpaca",
        "instruction, input and output; also system and history if samples have them.",
        JsonTexts(laid_out(layouts.alpaca, has_optional=True), array=None),
        imported_as=Mapping("alpaca"),
        losses=(_WEIGHTS, *_TEXT_LAYOUTS),
    ),
    ExportFormat(
        "prompt-completion",
        "Prompt and completion",
        "One prompt and one completion per line. Only for samples with one question.",
        JsonTexts(laid_out(layouts.prompt_completion), array=None),
        imported_as=Mapping("prompt-completion", "prompt", "completion"),
        losses=_TEXT_LAYOUTS,
    ),
    ExportFormat(
        "messages",
        "Messages",
        "A list of messages with role and content, as chat templates expect.",
        JsonTexts(laid_out(layouts.messages, carries=True), array=None),
        imported_as=Mapping("messages"),
        losses=_CONVERSATION_LAYOUTS,
    ),
    ExportFormat(
        "sharegpt",
        "ShareGPT",
        "A list of conversations with from and value.",
        JsonTexts(laid_out(layouts.sharegpt, carries=True), array=None),
        imported_as=Mapping("sharegpt"),
        losses=_CONVERSATION_LAYOUTS,
    ),
    ExportFormat(
        "llama-factory",
        "LLaMA-Factory",
        "Messages, and a dataset_info.json with the entry that LLaMA-Factory needs.",
        JsonTexts(laid_out(llama_factory.lay_out, carries=True), array=None),
        losses=(_WEIGHTS, *_CONVERSATION_LAYOUTS),
        companion=Companion(
            llama_factory.INFO_FILE,
            llama_factory.with_entry,
            llama_factory.write_info,
            llama_factory.own_entry,
        ),
        skipping=Skipping(llama_factory.skips, "whose turns do not alternate"),
    ),
)

EXPORT_FORMATS = {format.name: format for format in _FORMATS}
"""By name, in display order."""


def _has_formula(row: dict[str, Any]) -> bool:
    return any(map(is_formula, (*row, *row.values())))


def find_format(name: str) -> ExportFormat:
    """The export format with a name. Raises PlanError if it is unknown."""
    if name not in EXPORT_FORMATS:
        raise PlanError(f"unknown export format {name!r}; allowed: {', '.join(EXPORT_FORMATS)}")
    return EXPORT_FORMATS[name]


def _some(row_ids: list[int]) -> str:
    first = ", ".join(map(str, row_ids[:5])) + (", …" if len(row_ids) > 5 else "")
    return f"{counted(len(row_ids), 'row')} ({first})"
