"""Plan a new evaluation or extend one, from the options of `compare --evaluate`; find runs to add."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from staff_engine.brought_scores import NO_MODEL
from staff_engine.data.locating import check_source
from staff_engine.errors import PlanError, StaffError
from staff_engine.evaluation.cells import LONGEST_LABEL, RESERVED, check_arms, slug
from staff_engine.evaluation.estimate import Estimate, estimate
from staff_engine.evaluation.held_out import held_out_source
from staff_engine.evaluation.report import open_evaluation
from staff_engine.evaluation.run import open_sources
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.models.sources import find_model
from staff_engine.plan import SEEDS, Plan
from staff_engine.runs import control
from staff_engine.runs.folders import SUMMARY_FILE, Run, with_absolute_path
from staff_engine.runs.kinds import Kind
from staff_engine.runs.results import Results, open_results
from staff_engine.selection.methods import DEFAULT_METHODS


def plan_evaluation(source: Run, *, seed: int | None = None, **settings: Any) -> tuple[Plan, EvaluationPlan]:
    """The plan of a new evaluation of a finished run's coresets.

    Parameters
    ----------
    source
        The run. Its data, models and fine-tuning settings are used.
    seed
        The first seed. Default: the seed of the run's plan.
    **settings
        Settings of `EvaluationPlan`. None means the default.

    Raises
    ------
    StaffError
        If a setting is wrong, a run is unfinished or on other data, or there is no held-out data.
    """
    plan = control.read_record(control.require_scores(source)).plan
    if plan.shard_target:
        raise PlanError(
            f"the target of run {source.id} is divided over processes (shard_target), and an evaluation"
            " fine-tunes a whole target in each of them"
        )
    plan = plan if seed is None else plan.but(seed=seed)
    given = {name: value for name, value in settings.items() if value is not None}
    defaults = {"methods": DEFAULT_METHODS, "pruning_rates": (plan.pruning_rate,)}
    evaluation = EvaluationPlan.make(**{**defaults, **given, "source": str(source.folder)})
    _check(plan, evaluation)
    return plan, _with_absolute_file(evaluation)


def extended(run: Run, **settings: Any) -> EvaluationPlan:
    """The plan of an existing evaluation, extended by new settings.

    Methods, rates, seeds, other runs and budgets are added to the existing ones. Other settings
    replace the existing values, and the cells are then computed again. Raises StaffError like
    `plan_evaluation`.
    """
    known = open_evaluation(run.folder)
    before = known.evaluation
    given = {name: value for name, value in settings.items() if value is not None}
    for name in ("methods", "pruning_rates"):
        given[name] = tuple(dict.fromkeys((*getattr(before, name), *given.get(name, ()))))
    given["also"] = {**before.also, **given.get("also", {})}
    given["seeds"] = max(before.seeds, given.get("seeds", 0))
    if given.get("budget", before.budget) != before.budget:
        given["budget"] = "both"
    evaluation = before.but(**given)
    _check(known.plan, evaluation)
    return _with_absolute_file(evaluation)


def further_runs(texts: Sequence[str]) -> dict[str, str]:
    """Label → folder of other runs, given as LABEL=RUN, or as RUN with its name as the label.

    Raises
    ------
    RunError
        If a run does not exist or is not finished.
    PlanError
        If a label is given twice.
    """
    folders: dict[str, str] = {}
    for text in texts:
        label, equals, name = text.partition("=")
        run = control.require_scores(control.find_run(name if equals else text, kind=Kind.CORESET))
        label = label.strip() if equals else _label(run, RESERVED)
        if label in folders:
            raise PlanError(f"label {label!r} is given twice; give another label as LABEL=RUN")
        folders[label] = str(run.folder)
    return folders


def runs_beside(source: Run, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Label → folder of the other finished runs on the same data, newest first. Each can be added.

    Parameters
    ----------
    source
        The finished run whose coresets are evaluated.
    known
        Other runs that the evaluation already has. They are left out, and their labels are not used
        again.

    Notes
    -----
    Labels are assigned from the oldest run to the newest, so existing labels do not change when a run
    is added. A run with the same name as the source gets a different label.
    """
    known = known or {}
    own = _fingerprint(source)
    taken = {*RESERVED, *map(slug, known)}
    taken.add(slug(_label(source, taken)))
    folders: dict[str, str] = {}
    for run in reversed(control.list_runs()):
        if run.folder == source.folder or str(run.folder) in known.values() or not _selects(run, own):
            continue
        label = _label(run, taken)
        taken.add(slug(label))
        folders[label] = str(run.folder)
    return dict(reversed(folders.items()))


def _selects(run: Run, fingerprint: str) -> bool:
    """Whether a run is finished and selects coresets from the data with this fingerprint."""
    if not (run.folder / SUMMARY_FILE).exists():
        return False
    try:
        return control.kind_of(run) is Kind.CORESET and _fingerprint(run) == fingerprint
    except StaffError:
        return False


def _fingerprint(run: Run) -> str:
    return open_results(run.folder).imported.facts.fingerprint


def _label(run: Run, taken: Collection[str]) -> str:
    """An unused label from the name of a run, without "=", which ends a label on the command line."""
    name = " ".join(control.read_record(run).name.replace("=", " ").split())
    label = f"STAFF, {name}"[:LONGEST_LABEL].strip()
    if slug(label) not in taken:
        return label
    end = f" {run.id[-4:]}"
    return label[: LONGEST_LABEL - len(end)].strip() + end


def estimate_of(
    plan: Plan, evaluation: EvaluationPlan, run: Run | None = None, *, source: Results | None = None
) -> Estimate | None:
    """Estimate a new evaluation, or the rest of an existing one. Pass `source` if it is already open."""
    done = replace(open_evaluation(run.folder), evaluation=evaluation).cells if run is not None else []
    return estimate(plan, evaluation, source or open_results(Path(evaluation.source)), done)


def create(plan: Plan, evaluation: EvaluationPlan, *, name: str | None = None) -> Run:
    """Create the folder of the run. `runs.start` starts it."""
    return control.create_run(plan, name=name, evaluation=evaluation)


def add_to(run: Run, evaluation: EvaluationPlan) -> None:
    """Save the plan from `extended` for an evaluation. Raises RunError while a process is running it."""
    control.require_no_process(run)
    control.update_record(run, evaluation=evaluation)


def _with_absolute_file(evaluation: EvaluationPlan) -> EvaluationPlan:
    if evaluation.held_out is None:
        return evaluation
    return evaluation.but(held_out=with_absolute_path(evaluation.held_out))


def _check(plan: Plan, evaluation: EvaluationPlan) -> None:
    check_arms(evaluation)
    if plan.target == NO_MODEL:
        raise PlanError("the run has no target to fine-tune on its coresets; start one with --target")
    if plan.seed + evaluation.seeds > SEEDS:
        raise PlanError(
            f"{evaluation.seeds} seeds from {plan.seed} on end at {plan.seed + evaluation.seeds - 1};"
            f" allowed: up to {SEEDS - 1}"
        )
    check_source(*held_out_source(plan, evaluation))
    find_model(plan.target)
    open_sources(plan, evaluation)
