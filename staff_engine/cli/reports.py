"""The report of a run that selects no coreset: how it is read and printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.errors import RunError
from staff_engine.runs.folders import Run, kind_of
from staff_engine.runs.kinds import Kind

if TYPE_CHECKING:
    from rich.console import Console

Reader = Callable[[Path], Any]
Printer = Callable[[Any, "Console"], None]


@dataclass(frozen=True)
class RunReport:
    """The results of a run so far, as `report_of` reads them."""

    content: Any
    printer: Printer

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON-compatible dict."""
        return self.content.as_json()

    def print_to(self, console: Console) -> None:
        """Print its tables and sentences."""
        self.printer(self.content, console)


def report_of(run: Run) -> RunReport | None:
    """Read the report of a run.

    Returns
    -------
    RunReport or None
        None for a run that selects a coreset, for a damaged one, and before there are any results.
    """
    kind = kind_of(run)
    if kind is None:
        return None
    if kind not in REPORTS:
        raise RunError(f"run {run.id} has the unknown kind {str(kind)!r}; allowed: {', '.join(REPORTS)}")
    reader, printer = REPORTS[kind]()
    content = reader(run.folder)
    return None if content is None else RunReport(content, printer)


def _no_report() -> tuple[Reader, Printer]:
    return lambda folder: None, lambda content, console: None


def _similarity() -> tuple[Reader, Printer]:
    from staff_engine.cli.tables.similarity import print_similarity
    from staff_engine.pipelines.similarity.report import read_report

    return read_report, print_similarity


def _evaluation() -> tuple[Reader, Printer]:
    from staff_engine.cli.tables.evaluation import print_evaluation
    from staff_engine.evaluation.report import read_evaluation

    return read_evaluation, print_evaluation


REPORTS: dict[Kind, Callable[[], tuple[Reader, Printer]]] = {
    Kind.CORESET: _no_report,
    Kind.SIMILARITY: _similarity,
    Kind.EVALUATION: _evaluation,
}
"""The reader and the printer of each kind's report, imported when needed."""
