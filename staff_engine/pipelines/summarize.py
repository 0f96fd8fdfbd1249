"""The figures of a run that has its scores, and what its user should know."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from staff_engine.data.tokens import open_tokens
from staff_engine.pipelines.brought_scores import notes_on_scores
from staff_engine.pipelines.checking import models_checked
from staff_engine.plan import Plan
from staff_engine.runs.composition import response_lengths
from staff_engine.runs.cost import token_share
from staff_engine.runs.results import Results
from staff_engine.runs.summary import Summary, SummaryTrust
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.scoring.precision import read_precision
from staff_engine.selection.agreement import rank_agreement
from staff_engine.selection.trust import judge_trust
from staff_engine.system.words import counted

FIGURES = ("spearman", "low", "high", "partial", "partial_low", "partial_high")
"""The figures of the agreement that the summary stores."""


def summarize(results: Results) -> Summary:
    """Compute the figures of a run that has its scores: counts, and the estimated cost of verifying all.

    The estimate is the target's measured seconds per token, times the tokens of all scorable
    samples.
    """
    selection = results.select()
    strata = selection.strata
    verification, scores = results.verification, results.scores
    tokens_verified = float((verification["prompt_tokens"] + verification["response_tokens"]).sum())
    tokens_all = float((scores["prompt_tokens"] + scores["response_tokens"]).sum())
    seconds = float(verification["seconds"].sum())
    return Summary(
        rows=results.num_rows,
        samples=int(np.isfinite(results.speculative).sum()),
        unscorable=len(results.unscorable),
        strata=len(strata),
        strata_served=int((strata["budget"] > 0).sum()),
        tuned=len(results.tuned_ids),
        near_duplicates=len(selection.duplicates),
        verified=len(results.verified_ids),
        to_verify=len(to_verify(results)),
        coreset_size=len(selection.indices),
        response_tokens=response_lengths(results, selection.indices),
        token_share=token_share(results, selection.indices),
        small_scoring_seconds=float(scores["seconds"].sum()),
        verify_seconds_per_sample=seconds / max(len(verification), 1),
        full_target_seconds_estimate=seconds / tokens_verified * tokens_all if tokens_verified else None,
        warnings=(
            *_cut_responses(results),
            *too_few_to_tune(results.plan, len(results.tuned_ids)),
            *_other_templates(results.folder),
            *notes_on_scores(results),
            *(checked.sentence for checked in models_checked(results.folder) if checked.left_out),
            *selection.warnings,
        ),
        trust=_trust(results) if results.plan.scores is None else None,
        **_number_format(results),
    )


def too_few_to_tune(plan: Plan, tuned: int) -> list[str]:
    """The warning if fewer samples are left for tuning the target than the plan asks for."""
    if tuned >= plan.tune_target:
        return []
    asked = f"The plan tunes the target on {plan.tune_target:,} samples other than the verified ones"
    return [f"{asked}; only {tuned:,} exist." if tuned else f"{asked}; none exist, so it is untouched."]


def _cut_responses(results: Results) -> list[str]:
    """A warning if responses were truncated: their scores are those of their beginnings."""
    path = results.folder / "tokens.arrow"
    cut = open_tokens(path).cut if path.exists() else 0
    most = results.plan.max_length
    return (
        [f"{counted(cut, 'response')} longer than {most:,} tokens: truncated; --max-length sets the maximum"]
        if cut
        else []
    )


def _other_templates(folder: Path) -> list[str]:
    """Warnings about conversations that the small model's chat template does not render as they are."""
    made = open_tokens(folder / "tokens.arrow").templates
    if not made.keys() - {"plain"}:
        return []  # no chat template is used at all
    warnings = []
    if made.get("folded"):
        warnings.append(
            f"The chat template has no system turn: in {made['folded']:,} samples the system text is at the"
            " start of the first user turn."
        )
    if made.get("plain"):
        warnings.append(
            f"{made['plain']:,} of {sum(made.values()):,} samples do not fit the chat template and use the"
            " plain one. Their scores belong to another format than the others'."
        )
    return warnings


def _number_format(results: Results) -> dict[str, str]:
    """The number format of the models and, if `auto` chose it, a sentence with the reason."""
    if not results.plan.models:
        return {}
    known = read_precision(results.folder) if results.plan.dtype == "auto" else None
    if known is None:
        return {"dtype": results.plan.dtype}
    return {"dtype": known.dtype, "dtype_chosen": known.sentence}


def _trust(results: Results) -> SummaryTrust:
    plan = results.plan
    verified = results.verified_ids
    agreement = rank_agreement(
        results.scores_by(plan.score)[verified],
        results.verified_by(plan.score),
        lengths=results.response_tokens[verified],
    )
    trust = judge_trust(
        agreement,
        epochs=plan.epochs,
        scored_parameters=plan.scored_parameters,
        target_tuned=len(results.tuned_ids) > 0,
    )
    numbers = {name: getattr(agreement, name) for name in FIGURES}
    known = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
    return SummaryTrust.model_validate({**asdict(trust), "samples": agreement.samples, **known})
