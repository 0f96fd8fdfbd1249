"""Scores that a user brings to a run: one Parquet file for each, beside the scores of the models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staff_engine.brought_scores import OWN
from staff_engine.errors import DatasetError
from staff_engine.scoring.score_files import ROW_ID, ScoreFile, number_columns
from staff_engine.system.arrow import by_row, read_table, to_numpy, write_table
from staff_engine.system.words import counted

FOLDER = "own-scores"
LONGEST = 60
FEWEST = 2
"""Fewest rows with a value: of one, no ranking can be made."""


@dataclass(frozen=True)
class Added:
    """A score that was added to a run."""

    score: str
    """Its name as a setting: own:NAME."""
    rows: int
    """Rows with a value."""
    missing: int
    """Other rows of the data. They cannot be selected by this score."""
    raised: float
    """What was added to every value, so that the lowest is 0; 0 if none was below 0."""

    @property
    def sentence(self) -> str:
        """The figures as text."""
        parts = [f"{self.score}: {counted(self.rows, 'row')} with a value"]
        if self.missing:
            parts.append(f"{self.missing:,} without one, which cannot be selected by it")
        if self.raised:
            parts.append(f"all values raised by {self.raised:g}, so that the lowest is 0")
        return "; ".join(parts)


def own_scores(folder: Path) -> tuple[str, ...]:
    """The names of a run's own scores, as settings: own:NAME, in alphabetical order."""
    return tuple(sorted(f"{OWN}{path.stem}" for path in (folder / FOLDER).glob("*.parquet")))


def read_own_score(folder: Path, score: str, rows: int) -> np.ndarray:
    """Float64 (rows,): the values of one of `own_scores`, 0 or more, NaN for rows without one."""
    table = read_table(_path(folder, score))
    return by_row(rows, to_numpy(table[0]), to_numpy(table[1]))


def add_own_scores(
    folder: Path, file: ScoreFile, rows: int, *, reverse: bool = False, overwrite: bool = False
) -> list[Added]:
    """Add each column of a file to a run as a score, all or none.

    Parameters
    ----------
    folder
        The run's folder.
    file
        From `scoring.score_files.read_score_file`.
    rows
        Number of rows of the run's data.
    reverse
        Whether a higher value means an easier sample. The score is then the highest value minus
        the value, so that higher is harder, as for every score.
    overwrite
        Whether scores of the same name are replaced.

    Raises
    ------
    DatasetError
        If a name is taken, two columns have the same name without special characters, or a column
        has too few numbers.
    """
    scores: dict[str, str] = {}
    for column in file.columns:
        score = score_of(column)
        if score in scores:
            raise DatasetError(
                f"columns {scores[score]!r} and {column!r} are both called {score}; rename one"
            )
        if _path(folder, score).exists() and not overwrite:
            raise DatasetError(f"the run already has the score {score}; overwrite it, or rename the column")
        if np.isfinite(file.columns[column]).sum() < FEWEST:
            raise DatasetError(f"column {column!r} has fewer than {FEWEST} numbers for rows of the data")
        scores[score] = column
    (folder / FOLDER).mkdir(exist_ok=True)
    return [_add(folder, score, file, column, rows, reverse) for score, column in scores.items()]


def score_of(column: str) -> str:
    """The name of the score of a column: own:NAME."""
    return OWN + (re.sub(r"[^A-Za-z0-9_.]+", "-", column).strip("-.")[:LONGEST] or "score")


def scores_in(file: Path, key: str = ROW_ID) -> list[str]:
    """The names of the scores in a file, own:COLUMN. Raises DatasetError as `read_score_file` does."""
    return [score_of(name) for name in number_columns(file, key)]


def with_own_score(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run with a file of scores, with `score` if the file has only one.

    Raises
    ------
    DatasetError
        If the file cannot be read, has several scores and none is chosen, or lacks the one that is.
    """
    file = Path(str(settings["scores"])).expanduser()
    names = scores_in(file, str(settings.get("score_key") or ROW_ID))
    wanted = settings.get("score") or (names[0] if len(names) == 1 else None)
    if wanted is None:
        raise DatasetError(f"{file.name} has the scores {', '.join(names)}; choose one with --score")
    if str(wanted).startswith(OWN) and wanted not in names:
        raise DatasetError(f"{file.name} has no score {wanted!r}; its scores: {', '.join(names)}")
    return {**settings, "score": wanted}


def remove_own_score(folder: Path, score: str) -> None:
    """Remove one of a run's own scores. Raises DatasetError if it has none of that name."""
    if score not in own_scores(folder):
        raise DatasetError(
            f"the run has no score {score!r}; its own scores: {', '.join(own_scores(folder)) or 'none'}"
        )
    _path(folder, score).unlink()


def _add(folder: Path, score: str, file: ScoreFile, column: str, rows: int, reverse: bool) -> Added:
    known = np.isfinite(file.columns[column])
    row_ids, values = file.row_ids[known], file.columns[column][known]
    if reverse:
        values = values.max() - values
    raised = max(0.0, -float(values.min()))
    order = np.argsort(row_ids)
    write_table(_path(folder, score), row_id=row_ids[order], value=(values + raised)[order])
    return Added(score, len(values), rows - len(values), raised)


def _path(folder: Path, score: str) -> Path:
    return folder / FOLDER / f"{score.removeprefix(OWN)}.parquet"
