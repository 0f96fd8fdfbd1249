"""The command `compare`: coresets of STAFF and of other methods, and the target fine-tuned on each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from staff_engine.cli.arguments import AsJson, Detach, Processes, RunName, say_json, scored, see_through
from staff_engine.cli.terminal import console, say
from staff_engine.errors import PlanError
from staff_engine.evaluation_plan import PILOT_MINUTES, EvaluationPlan
from staff_engine.runs import control
from staff_engine.runs.kinds import Kind
from staff_engine.selection.baselines.ccs import CCS_STRATA
from staff_engine.selection.methods import DEFAULT_METHODS, METHODS, labels_where, of_any_score

EVALUATE_ONLY = (
    "seeds", "own_draw", "full_seeds", "budget", "baseline_scores", "held_out", "held_out_samples", "answers",
    "answer_tokens", "metric",
)  # fmt: skip

CUTTING = labels_where(lambda method: method.cuts)
STRATIFYING = labels_where(lambda method: method.stratifies)
"""The methods with a β, and those with a K."""


def _of_evaluation(name: str, *flags: str, more: str = "", metavar: str | None = None) -> Any:
    """An option of `compare --evaluate`; None if it is not given."""
    field = EvaluationPlan.model_fields[name]
    default = "" if field.default in (None, {}) or field.is_required() else f" Default: {field.default}."
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)),
        help=f"{field.description}{more}{default}",
        show_default=False,
        metavar=metavar,
        rich_help_panel="With --evaluate",
    )


def compare(
    run: RunName,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help=f"Selection method; repeat for several: {', '.join(METHODS)}."
            f" Default: {', '.join(DEFAULT_METHODS)}.",
            show_default=False,
        ),
    ] = None,
    pruning_rate: Annotated[
        list[float] | None,
        typer.Option(
            "--pruning-rate",
            help="Fraction of the samples to remove, 0 or more and below 1; repeat for several."
            " Default: as in the run's plan.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Random seed; with --evaluate, the first seed. Default: as in the run's plan.",
            show_default=False,
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help=f"Fraction of the hardest samples that {CUTTING} drop, 0 or more and below 1."
            " Default: drop_hardest of the run's plan, as for STAFF.",
            show_default=False,
        ),
    ] = None,
    baseline_strata: Annotated[
        int | None,
        typer.Option(
            help=f"K, the number of strata of {STRATIFYING}, 1 to 10,000. Default: {CCS_STRATA}, as in its"
            " paper.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Parquet file to write, with the rows that each method keeps.", metavar="FILE"
        ),
    ] = None,
    as_json: AsJson = False,
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate",
            help="Start a run that fine-tunes the target on each coreset and on all samples, and evaluates"
            " it and the untouched target on held-out samples. If RUN is such a run, add to it.",
        ),
    ] = False,
    seeds: Annotated[int | None, _of_evaluation("seeds")] = None,
    own_draw: Annotated[bool | None, _of_evaluation("own_draw")] = None,
    full_seeds: Annotated[int | None, _of_evaluation("full_seeds")] = None,
    budget: Annotated[str | None, _of_evaluation("budget", metavar="epochs|steps|both")] = None,
    baseline_scores: Annotated[str | None, _of_evaluation("baseline_scores", metavar="small|target")] = None,
    also: Annotated[
        list[str] | None,
        _of_evaluation("also", more=" As LABEL=RUN or RUN; repeat for several.", metavar="LABEL=RUN"),
    ] = None,
    held_out: Annotated[str | None, _of_evaluation("held_out", metavar="FILE")] = None,
    held_out_samples: Annotated[int | None, _of_evaluation("held_out_samples")] = None,
    answers: Annotated[int | None, _of_evaluation("answers")] = None,
    answer_tokens: Annotated[int | None, _of_evaluation("answer_tokens")] = None,
    metric: Annotated[str | None, _of_evaluation("metric", metavar="auto|rouge-l|chrf")] = None,
    pilot: Annotated[
        bool,
        typer.Option(
            "--pilot",
            help="Start the cheapest evaluation that can tell STAFF's coreset from random ones: only these"
            " two, loss only, with as many seeds as --minutes allows.",
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            help=f"Maximum time of a pilot in minutes. Default: {PILOT_MINUTES:g}.",
            min=0,
            show_default=False,
            rich_help_panel="With --pilot",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run. Default: from data set and model.",
            metavar="TEXT",
            rich_help_panel="With --evaluate",
        ),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate", help="Only estimate how long it will take.", rich_help_panel="With --evaluate"
        ),
    ] = False,
    processes: Processes = None,
    detach: Detach = False,
) -> None:
    """Compare the coresets that STAFF and other methods select from a run; no model is run.

    D2 searches every sample's nearest neighbours: about a minute for 100,000 samples. With --evaluate
    the target is fine-tuned on each coreset; an estimate of the time is printed before it starts.
    """
    asked = {
        "methods": tuple(method) if method else None,
        "pruning_rates": tuple(pruning_rate) if pruning_rate else None,
        "beta": beta,
        "baseline_strata": baseline_strata,
        "seeds": seeds, "own_draw": own_draw, "full_seeds": full_seeds, "budget": budget,
        "baseline_scores": baseline_scores,
        "held_out": held_out, "held_out_samples": held_out_samples, "answers": answers,
        "answer_tokens": answer_tokens, "metric": metric,
    }  # fmt: skip
    if pilot:
        _pilot(run, asked, also, minutes, refused={"--evaluate": evaluate, "--out": out, "--json": as_json,
               "--seed": seed is not None}, name=name, estimate_only=estimate,
               processes=processes, detach=detach)  # fmt: skip
        return
    if minutes is not None:
        raise PlanError("--minutes needs --pilot")
    if evaluate:
        if out is not None or as_json:
            raise PlanError("--out and --json do not work with --evaluate; use status RUN --json instead")
        _evaluate(
            run, asked, also or [], seed=seed, name=name, estimate_only=estimate, processes=processes,
            detach=detach,
        )  # fmt: skip
        return
    given = [name for name in EVALUATE_ONLY if asked[name] is not None]
    others = {
        "also": also, "name": name, "estimate": estimate, "processes": processes, "detach": detach,
    }  # fmt: skip
    given += [word for word, value in others.items() if value]
    if given:
        raise PlanError(f"--{given[0].replace('_', '-')} needs --evaluate")
    from staff_engine.export.delivery import check_out
    from staff_engine.runs.coverage import coverage_of_methods, write_choices
    from staff_engine.runs.results import open_results
    from staff_engine.runs.score_tables import small_scores

    results = open_results(scored(run).folder)
    if out is not None:
        check_out(out, results.plan)
    table = small_scores(results)
    at_each_rate = coverage_of_methods(
        results,
        table,
        method or (DEFAULT_METHODS if table.source == "small" else of_any_score(table)),
        pruning_rates=pruning_rate or [results.plan.pruning_rate],
        seed=results.plan.seed if seed is None else seed,
        beta=beta,
        strata=baseline_strata,
    )
    compared = list(at_each_rate)
    if out is not None:
        write_choices(out, results.num_rows, compared)
    if as_json:
        say_json([each.as_json() for each in compared])
        return

    from staff_engine.cli.tables.coverage import print_coverage

    for each in compared:
        print_coverage(each, console())
    if out is not None:
        say(f"the rows that each method keeps are written to {out}")


def _pilot(
    run: str,
    asked: dict[str, Any],
    also: list[str] | None,
    minutes: float | None,
    *,
    refused: dict[str, Any],
    name: str | None,
    estimate_only: bool,
    processes: int | None,
    detach: bool,
) -> None:
    """Start a pilot of a run's coreset. It chooses all settings but the held-out file and the time."""
    from staff_engine.evaluation import planning
    from staff_engine.evaluation.pilot import plan_pilot

    singular = {"methods": "method", "pruning_rates": "pruning_rate"}
    given = {
        f"--{singular.get(name, name).replace('_', '-')}": value
        for name, value in asked.items()
        if name != "held_out"
    }
    given |= {"--also": also, **refused}
    wrong = [option for option, value in given.items() if value is not None and value is not False]
    if wrong:
        raise PlanError(f"{wrong[0]} does not work with --pilot, which chooses its own settings")
    found = control.find_run(run, kind=Kind.CORESET)
    made = plan_pilot(
        found, minutes=PILOT_MINUTES if minutes is None else minutes, held_out=asked["held_out"]
    )
    say(made.words)
    if not estimate_only:
        known = planning.create(made.plan, made.evaluation, name=name or f"pilot of {found.id}")
        control.start(known, processes=processes)
        see_through(known, detach)


def _evaluate(
    run: str,
    asked: dict[str, Any],
    also: list[str],
    *,
    seed: int | None,
    name: str | None,
    estimate_only: bool,
    processes: int | None,
    detach: bool,
) -> None:
    """Start an evaluation of a run's coresets, or add to an existing one."""
    from staff_engine.cli.tables.evaluation import estimate_words
    from staff_engine.evaluation import planning

    asked = {**asked, "also": planning.further_runs(also)}
    found = control.find_run(run, kind=Kind.CORESET)
    known = found if control.kind_of(found) is Kind.EVALUATION else None
    if known is not None and (name or seed is not None):
        raise PlanError(
            f"run {found.id} has its name and first seed already; --name and --seed are for new ones"
        )
    if known is not None:
        plan, evaluation = control.read_record(known).plan, planning.extended(known, **asked)
    else:
        plan, evaluation = planning.plan_evaluation(found, seed=seed, **asked)
    say(estimate_words(planning.estimate_of(plan, evaluation, known)))
    if estimate_only:
        return
    if known is None:
        known = planning.create(plan, evaluation, name=name)
    else:
        planning.add_to(known, evaluation)
    control.start(known, processes=processes)
    see_through(known, detach)
