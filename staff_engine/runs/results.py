"""The results in a run's folder: typed, and read only when first used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.brought_scores import OWN
from staff_engine.data.builtin.kinds import row_kinds
from staff_engine.data.dataset import Imported, open_imported
from staff_engine.data.repeats.by_tokens import kept_near_duplicates
from staff_engine.errors import RunError
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.presets import with_preset
from staff_engine.program import COMMAND
from staff_engine.runs.folders import read_plan
from staff_engine.runs.integrity.check import check_files
from staff_engine.runs.summary import Summary, load_summary, load_timings
from staff_engine.runs.verification import drawing
from staff_engine.scoring.own_scores import own_scores, read_own_score
from staff_engine.scoring.parts import LOSS_ALONE, alone_folder, count_parts, read_embeddings, read_parts
from staff_engine.scoring.trajectories import measured_folders
from staff_engine.selection.coreset import Selection, select_coreset
from staff_engine.selection.cuts.lengths import rank_within_lengths
from staff_engine.selection.pool import Pool
from staff_engine.selection.scores import SCORES, make_score, score_named
from staff_engine.system.arrow import by_row, read_table, to_numpy

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

UNSCORABLE_FILE = "unscorable.parquet"
"""The rows that cannot be scored, and why."""

NOT_OF_CORESET = ("score", "strata", "drop_by", "drop_evenly", "near_duplicates")
"""Settings of the selection that `select_coreset` takes in another form."""

TUNING_FILE = "target_tuning.parquet"
"""The samples on which a run's target was fine-tuned, drawn once: they are never verified."""

MEASURED = ("effort", "loss", "response_tokens")
"""The columns of every run that scores are made of."""


@dataclass(frozen=True)
class Results:
    """A run's results, as `open_results` returns them. Large files are read once, when first used."""

    folder: Path
    plan: Plan

    @cached_property
    def imported(self) -> Imported:
        """The imported data set. Raises RunError if one of its files is damaged or missing."""
        check_files(self.folder, "dataset")
        return open_imported(self.folder / "dataset")

    @cached_property
    def _pools(self) -> dict[str, Pool]:
        return {}

    @cached_property
    def _groups(self) -> dict[float, np.ndarray]:
        return {}

    def _column(self, part: str, name: str) -> np.ndarray:
        if part == "speculative" and name in ("effort", "response_tokens"):
            return self.speculative if name == "effort" else self.response_tokens
        return self._measured(part, name)

    def _measured(self, part: str, name: str) -> np.ndarray:
        """Float64 (num_rows,): a column of a score table, NaN for rows without a score."""
        if name.startswith(OWN):
            return read_own_score(self.folder, name, self.num_rows)
        folder = alone_folder(Path(part)).name if name == LOSS_ALONE else part
        table = self.read(folder, ["row_id", name])
        return by_row(self.num_rows, to_numpy(table["row_id"]), to_numpy(table[name]))

    def read(self, part: str, columns: list[str] | None = None) -> pa.Table:
        """Read a score table of the run. Raises RunError if one of its files is damaged or missing."""
        check_files(self.folder, part)
        return read_parts(self.folder / part, columns)

    def _embedding(self) -> np.ndarray:
        check_files(self.folder, "embedding")
        return read_embeddings(self.folder, self.num_rows)

    @property
    def num_rows(self) -> int:
        """Rows of the imported data, including unscorable ones."""
        return self.imported.facts.rows

    @cached_property
    def speculative(self) -> np.ndarray:
        """Float64 (num_rows,): effort on the small model, NaN for unscorable rows.

        Without a small model, the plan's score, which is from a file.
        """
        return (
            self._measured("speculative", "effort")
            if self.plan.scores is None
            else self.scores_by(self.plan.score)
        )

    @property
    def scorable(self) -> np.ndarray:
        """Bool (num_rows,): which rows can be scored; the same for every score."""
        return np.isfinite(self.speculative if self.plan.scores is None else self.response_tokens)

    @cached_property
    def response_tokens(self) -> np.ndarray:
        """Float64 (num_rows,): response tokens of the small model's tokenizer, NaN where unscored."""
        return self._measured("speculative", "response_tokens")

    @cached_property
    def losses(self) -> np.ndarray:
        """Float64 (num_rows,): loss on the small model, NaN where unscored."""
        return self._measured("speculative", "loss")

    @cached_property
    def tokens(self) -> np.ndarray:
        """Float64 (num_rows,): tokens of prompt and response for the small model, NaN where unscored."""
        return self._measured("speculative", "prompt_tokens") + self.response_tokens

    def pool(self, score: str = "effort") -> Pool:
        """Open the small model's scores, for selecting and drawing repeatedly.

        Parameters
        ----------
        score
            One of `scores.SCORES`.

        Raises
        ------
        PlanError
            If the score is unknown.
        """
        if score not in self._pools:
            embedding = self._embedding if (self.folder / "embedding").is_dir() else None
            self._pools.setdefault(score, Pool(self.scores_by(score), embedding=embedding))
        return self._pools[score]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The measured columns that `Score.reads` can name, if the small model has scored all samples."""
        scored = self.folder / "speculative"
        check_files(self.folder, scored.name, alone_folder(scored).name)
        alone = count_parts(alone_folder(scored))
        if self.plan.scores is not None:
            return ("response_tokens", *own_scores(self.folder))
        complete = (LOSS_ALONE,) if alone and alone == count_parts(scored) else ()
        return (*MEASURED, *complete, *own_scores(self.folder))

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores that the run has the columns of, also those that a user added to it."""
        return (*(name for name in SCORES if not self.lacks(name)), *own_scores(self.folder))

    def lacks(self, score: str) -> tuple[str, ...]:
        """The columns that a score reads and the run does not have. Raises PlanError."""
        return tuple(name for name in score_named(score).reads if name not in self.columns)

    def scores_by(self, score: str) -> np.ndarray:
        """Float64 (num_rows,): a score of the small model, NaN for unscorable rows.

        Raises
        ------
        PlanError
            If the score is unknown.
        RunError
            If the run lacks a column that the score reads.
        """
        lacking = self.lacks(score)
        if lacking:
            raise RunError(self._lacking(score, lacking))
        made = make_score(score, _Columns(lambda name: self._column("speculative", name)))
        return np.where(self.scorable, made, np.nan)

    def _lacking(self, score: str, columns: tuple[str, ...]) -> str:
        """What the run does not have, and the command that adds it."""
        name = self.folder.name
        if score.startswith(OWN):
            own = ", ".join(own_scores(self.folder)) or "none"
            return (
                f"run {name} does not have the score {score!r}; its own scores: {own}; to add one:"
                f" {COMMAND} scores add {name} FILE"
            )
        if self.plan.scores is not None:
            own = ", ".join(own_scores(self.folder))
            return f"score {score!r} needs a small model, which run {name} does not have; its scores: {own}"
        return (
            f"score {score!r} needs {', '.join(columns)}, which run {name} does not have;"
            f" to compute it: {COMMAND} verify {name} --score {score}"
        )

    def verified_by(self, score: str) -> np.ndarray:
        """Float64 (n,): a score of the target for `verified_ids`, NaN where not finite. Raises PlanError.

        A score that a user added is verified by the target's effort.
        Lengths are in tokens of the small model: the models of a family share a tokenizer.
        """

        def column(name: str) -> np.ndarray:
            if name == "effort":
                return self.verified_scores
            part = "speculative" if name == "response_tokens" else "verification"
            return self._column(part, name)[self.verified_ids]

        return make_score(score_named(score).on_target or score, _Columns(column))

    @cached_property
    def kinds(self) -> np.ndarray | None:
        """The kind of each row, as `data.builtin.kinds.row_kinds`; None if the data does not say it."""
        return row_kinds(self.imported.folder, self.num_rows)

    @cached_property
    def trajectories(self) -> np.ndarray:
        """Float64 (num_rows, c): each sample's loss at c checkpoints of the small model's fine-tuning.

        The last one is the fine-tuned model. NaN for unscorable rows; c is 0 if they are not measured.
        """
        parts = measured_folders(self.folder, self.plan)
        columns = [self._measured(part, "loss") for part in parts]
        return np.column_stack(columns) if columns else np.zeros((self.num_rows, 0))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The small model's score table, a row for each scored sample, by row_id."""
        return self.read("speculative").to_pandas().sort_values("row_id", ignore_index=True)

    @cached_property
    def verification(self) -> pd.DataFrame:
        """The target's score table, a row for each verified sample, by row_id."""
        return self.read("verification").to_pandas().sort_values("row_id", ignore_index=True)

    @cached_property
    def _verified(self) -> tuple[np.ndarray, np.ndarray]:
        table = self.read("verification", ["row_id", "effort"])
        rows = to_numpy(table["row_id"])
        order = np.argsort(rows)
        return rows[order], to_numpy(table["effort"])[order]

    @property
    def verified_ids(self) -> np.ndarray:
        """Int64 (n,): row ids of the samples that the target has scored, ascending."""
        return self._verified[0]

    @property
    def verified_scores(self) -> np.ndarray:
        """Float64 (n,): the target's effort on them; NaN where it is not finite."""
        return self._verified[1]

    @cached_property
    def tuned_ids(self) -> np.ndarray:
        """Int64 (n,): row ids that the target was fine-tuned on, ascending; empty if it is untouched."""
        path = self.folder / TUNING_FILE
        check_files(self.folder, TUNING_FILE)
        return to_numpy(read_table(path)["row_id"]) if path.exists() else np.zeros(0, dtype=np.int64)

    @cached_property
    def unscorable(self) -> dict[int, str]:
        """The reason for each row that cannot be scored, by row_id."""
        path = self.folder / UNSCORABLE_FILE
        check_files(self.folder, UNSCORABLE_FILE)
        if not path.exists():
            return {}
        table = read_table(path)
        return dict(zip(table["row_id"].to_pylist(), table["reason"].to_pylist(), strict=True))

    @cached_property
    def summary(self) -> Summary:
        """The figures of the finished run. Raises RunError before the run has finished."""
        return load_summary(self.folder)

    @cached_property
    def timings(self) -> dict[str, float]:
        """Seconds of each stage."""
        return load_timings(self.folder)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The plan's selection settings with some changed. Raises PlanError."""
        changes = with_preset(changes)
        unknown = set(changes) - set(SELECTION_FIELDS)
        if unknown:
            raise TypeError(f"unknown selection settings: {', '.join(sorted(unknown))}")
        plan = self.plan.but(**changes)
        return {name: getattr(plan, name) for name in SELECTION_FIELDS}

    def select(self, *, own_draw: bool = False, **changes: Any) -> Selection:
        """Select a coreset from the existing scores; no model is run.

        Parameters
        ----------
        own_draw
            Use only the verified samples that these settings draw themselves, if all of them are verified.
            So the coreset does not depend on what was verified for other settings.
        **changes
            Any of `plan.SELECTION_FIELDS`; the others come from the run's plan.

        Raises
        ------
        PlanError
            If a setting is not allowed.
        RunError
            If the run has no scores yet.
        """
        settings = self.settings(**changes)
        cuts = self.cuts(settings)
        score, num_strata = settings["score"], settings["strata"]
        how = {name: value for name, value in settings.items() if name not in NOT_OF_CORESET}
        used = self._own_draw(changes) if own_draw else slice(None)
        selection = select_coreset(
            self.pool(score), self.verified_ids[used], self.verified_by(score)[used],
            num_strata=num_strata, **how, **cuts,
        )  # fmt: skip
        return replace(selection, score=score)

    def _own_draw(self, changes: dict[str, Any]) -> np.ndarray | slice:
        """Which of the verified samples these settings draw themselves; all if some of those are missing."""
        drawn = drawing.own_draw(self, **changes)
        complete = np.isin(drawn, self.verified_ids).all()
        return np.isin(self.verified_ids, drawn) if complete else slice(None)

    def cuts(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The arrays of `select_coreset` that say what is left out, for the settings of the plan."""
        drop_by, near_duplicates = settings["drop_by"], settings["near_duplicates"]
        scores = None if drop_by == "score" else self.scores_by(drop_by)
        if settings["drop_evenly"]:
            scores = self.scores_by(settings["score"]) if scores is None else scores
            scores = rank_within_lengths(scores, self.response_tokens)
        return {
            "drop_scores": scores,
            "groups": self.near_duplicates(near_duplicates) if near_duplicates else None,
        }

    def near_duplicates(self, threshold: float) -> np.ndarray:
        """Int64 (num_rows,): groups of near duplicates; see `data.repeats.by_tokens.near_duplicates`."""
        if threshold not in self._groups:
            path = self.folder / "tokens.arrow"
            check_files(self.folder, path.name)
            self._groups[threshold] = kept_near_duplicates(path, self.num_rows, threshold=threshold)
        return self._groups[threshold]


class _Columns(dict[str, np.ndarray]):
    """Columns by name, each read when first used."""

    def __init__(self, read: Callable[[str], np.ndarray]) -> None:
        self._read = read

    def __missing__(self, name: str) -> np.ndarray:
        return self._read(name)


def open_results(folder: Path) -> Results:
    """Open a run's folder.

    Raises
    ------
    RunError
        If it has no plan, or a damaged one. Its other files are checked when they are first read.
    """
    return Results(folder, read_plan(folder))
