"""A run without a small model: the scores are from a file that other tools wrote."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.brought_scores import NO_MODEL
from staff_engine.data.dataset import open_imported
from staff_engine.data.sources import shown_file
from staff_engine.data.tokens import TokenTable
from staff_engine.models.sources import builtin_models
from staff_engine.pipelines.helping import Reporter
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.integrity.records import forget
from staff_engine.scoring.own_scores import add_own_scores, own_scores, read_own_score
from staff_engine.scoring.score_files import read_score_file
from staff_engine.selection.agreement import rank_agreement
from staff_engine.system.arrow import write_table

if TYPE_CHECKING:
    from staff_engine.runs.results import Results

log = logging.getLogger(__name__)

PART = "part-00000.parquet"


def tokenizer_of(plan: Plan) -> str:
    """The model whose tokenizer counts the tokens of a run: its first model, else a built-in one."""
    return plan.models[0] if plan.models else f"builtin:{builtin_models()[0]}"


def take_scores(plan: Plan, folder: Path, tokens: TokenTable, reporter: Reporter) -> dict[int, str]:
    """Add the scores of the plan's file to a run, and write the lengths of its samples.

    Returns
    -------
    dict
        Row id → why a row cannot be selected: it has no value of the plan's score.

    Raises
    ------
    DatasetError
        If the file cannot be read, or does not fit the data.
    """
    rows = open_imported(folder / "dataset").facts.rows
    written = folder / "speculative" / PART
    if not written.exists() or plan.score not in own_scores(folder):
        reporter.stage(stages.TAKE_SCORES)
        file = Path(str(plan.scores))
        found = read_score_file(file, folder / "dataset", rows, key=plan.score_key)
        for added in add_own_scores(folder, found, rows, overwrite=True):
            log.info(added.sentence)
            reporter.advance()
        if found.unknown:
            log.warning("%d rows of %s are not in the data and are ignored", found.unknown, file.name)
        _write_lengths(folder, tokens)
    values = read_own_score(folder, plan.score, rows)[tokens.row_ids]
    without = tokens.row_ids[~np.isfinite(values)]
    return {int(row): f"the file of scores has no value of {plan.score} for it" for row in without}


def _write_lengths(folder: Path, tokens: TokenTable) -> None:
    """Write a score table with the lengths of the samples; what a small model would measure is not known."""
    path = folder / "speculative" / PART
    path.parent.mkdir(exist_ok=True)
    unknown = np.full(len(tokens), np.nan)
    forget(folder, f"speculative/{PART}")
    write_table(
        path,
        row_id=tokens.row_ids,
        prompt_tokens=tokens.lengths - tokens.response_tokens,
        response_tokens=tokens.response_tokens,
        loss=unknown,
        el2n=unknown,
        seconds=np.zeros(len(tokens)),
    )


def notes_on_scores(results: Results) -> list[str]:
    """What a person should know of a run with scores of a file; nothing for other runs."""
    plan = results.plan
    if plan.scores is None:
        return []
    notes = [f"The scores are from {shown_file(plan.scores)}. The run has no small model."]
    if plan.target == NO_MODEL:
        return [*notes, f"Lengths are in tokens of {tokenizer_of(plan)}."]
    agreement = rank_agreement(
        results.scores_by(plan.score)[results.verified_ids],
        results.verified_by(plan.score),
        lengths=results.response_tokens[results.verified_ids],
    )
    if not np.isfinite(agreement.spearman):
        return [*notes, f"Too few samples are verified to compare {plan.score} with the target."]
    return [
        *notes,
        f"Rank correlation of {plan.score} with the target's effort: {agreement.spearman:.2f} over"
        f" {agreement.samples:,} samples.",
    ]
