"""The command line: `python -m staff_engine …`. What a command needs is imported when it runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from staff_engine import runs
from staff_engine.errors import PlanError, StaffError
from staff_engine.export import EXPORT_FORMATS
from staff_engine.methods import METHODS
from staff_engine.options import PANELS, PROGRAM, VERIFY_FIELDS, read_plan_file, takes_settings
from staff_engine.plan import SELECTION_FIELDS, ComparisonPlan, Plan, SimilarityPlan
from staff_engine.run_folders import Run

app = typer.Typer(
    name=PROGRAM,
    help="Find the part of a fine-tuning set that is worth training on. Times are in seconds, sizes in "
    "samples and tokens, rates are fractions from 0 to 1.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, a beginning of it, its name, its folder, or latest.")
]
Out = Annotated[Path | None, typer.Option("--out", help="File to write the coreset to.", metavar="FILE")]
ExportFormat = Annotated[
    str,
    typer.Option("--export-format", help=f"Layout of the file: {', '.join(EXPORT_FORMATS)}.", metavar="F"),
]
WithScores = Annotated[
    bool, typer.Option("--with-scores", help="Put each row's scores into it, under _staff.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the run works on in the background.")]

EVALUATE_ONLY = (
    "seeds", "budget", "baseline_scores", "held_out", "held_out_samples", "answers", "answer_tokens",
    "metric",
)  # fmt: skip


def _of_similarity(name: str) -> Any:
    return typer.Option(f"--{name}", help=SimilarityPlan.model_fields[name].description)


def _of_comparison(name: str, *flags: str, more: str = "", metavar: str | None = None) -> Any:
    """An option of `compare --evaluate`; what is not given is None."""
    field = ComparisonPlan.model_fields[name]
    default = "" if field.default in (None, {}) or field.is_required() else f" Default: {field.default}."
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)),
        help=f"{field.description}{more}{default}",
        show_default=False,
        metavar=metavar,
        rich_help_panel="With --evaluate",
    )


@app.callback()
def _every_command(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
) -> None: ...


@app.command()
@takes_settings(tuple(Plan.model_fields))
def run(
    settings: dict[str, str],
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help="JSON file of settings; options override it.", metavar="FILE"),
    ] = None,
    out: Out = None,
    export_format: ExportFormat = "jsonl",
    with_scores: WithScores = False,
    name: Annotated[
        str | None, typer.Option(help="What to call the run; made up where not given.", metavar="TEXT")
    ] = None,
    detach: Detach = False,
) -> None:
    """Fine-tune the small model, score all samples, verify some on the target, select the coreset."""
    from staff_engine.dataset import check_source
    from staff_engine.delivery import plan_delivery
    from staff_engine.forecast import keep_forecast
    from staff_engine.models import find_model

    plan = Plan.make(**{**(read_plan_file(plan_file) if plan_file else {}), **settings})
    delivery = plan_delivery(out, export_format, with_scores, plan) if out else None
    check_source(plan.dataset, plan.split)
    for model in (plan.small, plan.target):
        find_model(model)
    created = runs.create_run(plan, name=name, delivery=delivery)
    keep_forecast(created)
    runs.start(created)
    _watch(created, detach)


@app.command()
@takes_settings(SELECTION_FIELDS, default="as in the run's plan")
def select(
    run: RunName,
    settings: dict[str, str],
    out: Out = None,
    export_format: ExportFormat = "jsonl",
    with_scores: WithScores = False,
    as_json: AsJson = False,
) -> None:
    """Select anew from a run's scores with other settings; no model runs. The run's plan gives the rest."""
    from staff_engine.delivery import plan_delivery
    from staff_engine.export import export_coreset
    from staff_engine.results import open_results

    found = _scored(run)
    results = open_results(found.folder)
    delivery = plan_delivery(out, export_format, with_scores, results.plan) if out else None
    chosen = results.settings(**settings)
    selection = results.select(**chosen)
    answer: dict[str, Any] = {
        "run_id": found.id,
        "settings": chosen,
        "coreset_size": len(selection.indices),
        "to_verify": len(results.to_verify(**chosen)),
        "warnings": list(selection.warnings),
    }
    if delivery is not None:
        export_coreset(
            results, selection, chosen, delivery.out, format=delivery.format, with_scores=delivery.with_scores
        )
        answer |= {"out": str(delivery.out), "format": delivery.format}
    elif as_json:
        answer["row_ids"] = selection.indices.tolist()
    wanted = "".join(
        f" --{name.replace('_', '-')} {settings[name]}" for name in VERIFY_FIELDS if name in settings
    )
    each = results.summary.get("verify_seconds_per_sample") or 0.0
    if as_json:
        _say_json(answer)
        return
    from staff_engine.selected import print_selected

    print_selected(answer, f"{PROGRAM} verify {found.id}{wanted}", each * answer["to_verify"])


@app.command()
@takes_settings(VERIFY_FIELDS, default="as in the run's plan")
def verify(run: RunName, settings: dict[str, str], detach: Detach = False) -> None:
    """Let the target score the samples that these settings still need."""
    from staff_engine.results import open_results

    found = _scored(run)
    results = open_results(found.folder)
    plan = results.plan.but(**settings)
    wanted = {field: getattr(plan, field) for field in VERIFY_FIELDS}
    missing = len(results.to_verify(**wanted))
    if not missing:
        typer.echo("nothing is left to verify")
        return
    typer.echo(f"{missing:,} samples to verify")
    runs.start(found, verify=wanted)
    _watch(found, detach)


@app.command()
def resume(run: RunName, detach: Detach = False) -> None:
    """Let a run that was cancelled, failed or was interrupted go on where its files end."""
    from staff_engine.delivery import check_delivery

    found = runs.find_run(run)
    record = runs.read_record(found)
    if record.delivery is not None:
        check_delivery(record.delivery, record.plan)
    runs.resume(found)
    _watch(found, detach)


@app.command()
def cancel(run: RunName) -> None:
    """Stop a run; what it has done is kept, and `resume` goes on from there."""
    found = runs.find_run(run)
    typer.echo(f"run {found.id} is {runs.cancel(found).state}; to go on: {PROGRAM} resume {found.id}")


@app.command()
def status(
    run: RunName = "latest",
    as_json: AsJson = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress until the run ends.")] = False,
) -> None:
    """Say how far a run is."""
    found = runs.find_run(run)
    if follow:
        _watch(found, cancels=False)
        return
    from staff_engine.comparison_results import read_comparison
    from staff_engine.similarity_results import read_report

    facts = runs.describe(found)
    report = read_report(found.folder)
    evaluation = read_comparison(found.folder)
    if as_json:
        either = report or evaluation
        _say_json(facts | ({"report": either.as_json()} if either else {}))
        return
    from staff_engine.report import print_status

    print_status(facts)
    if report is not None:
        from rich.console import Console

        from staff_engine.similarity_table import print_similarity

        print_similarity(report, Console())
    if evaluation is not None:
        from rich.console import Console

        from staff_engine.comparison_table import print_evaluation

        print_evaluation(evaluation, Console())


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the runs, the newest first."""
    listed = [runs.describe(found) for found in runs.list_runs()]
    if as_json:
        _say_json(listed)
    elif not listed:
        typer.echo(f"no runs in {runs.home() / 'runs'}")
    else:
        from staff_engine.report import print_runs

        print_runs(listed)


@app.command()
def delete(
    run: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, as the other commands take them.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs and all they hold; exported files stay."""
    found = list(dict.fromkeys(map(runs.find_run, run)))
    for each in found:
        if not yes and not typer.confirm(f"Delete {each.folder} and everything in it?"):
            typer.echo(f"run {each.id} is kept")
            continue
        runs.delete(each)
        typer.echo(f"run {each.id} is deleted")


@app.command()
def export(
    run: RunName,
    out: Annotated[Path, typer.Option("--out", help="File to write the coreset to.", metavar="FILE")],
    format: Annotated[
        str, typer.Option("--format", help=f"Layout of the file: {', '.join(EXPORT_FORMATS)}.", metavar="F")
    ] = "jsonl",
    with_scores: WithScores = False,
) -> None:
    """Write the coreset of a run's own plan in any format."""
    from staff_engine.delivery import deliver, plan_delivery

    found = _scored(run)
    delivery = plan_delivery(out, format, with_scores, runs.read_record(found).plan)
    typer.echo(f"{deliver(found, delivery):,} samples written to {delivery.out}")


@app.command()
@takes_settings(("dataset", "format", "prompt_column", "response_column", "split", "limit"))
def inspect(settings: dict[str, str], as_json: AsJson = False) -> None:
    """Look at every row of a data set: format, lengths, duplicates, rows that cannot be used and why."""
    from staff_engine.findings import DataChoice, in_sentences
    from staff_engine.inspecting import findings_of

    plan = Plan.make(**{"small": "-", "target": "-", **settings})
    findings = findings_of(DataChoice(**plan.model_dump(include=set(DataChoice.model_fields))))
    if as_json:
        _say_json(findings.model_dump(mode="json"))
        return
    for sentence in in_sentences(findings):
        typer.echo(sentence)


@app.command()
@takes_settings(tuple(Plan.model_fields))
def forecast(
    settings: dict[str, str],
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help="JSON file of settings; options override it.", metavar="FILE"),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            help="Time for the batches that are measured; reading data and loading models comes on top.",
            min=1,
        ),
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Measure a few batches, and say what a run would take: seconds of each stage, memory, what is saved."""
    os.environ.update(runs.QUIET_LOG, TRANSFORMERS_VERBOSITY="error")  # read when the libraries are loaded
    from rich.console import Console

    from staff_engine.forecast import make_forecast
    from staff_engine.forecast_table import forecast_table

    plan = Plan.make(**{**(read_plan_file(plan_file) if plan_file else {}), **settings})
    with Console(stderr=True).status("starting") as shown:
        found = make_forecast(plan, seconds=seconds, say=shown.update)
    if as_json:
        _say_json(found.model_dump(mode="json"))
    else:
        Console().print(forecast_table(found))


@app.command()
@takes_settings((*PANELS["Data"], "device", "dtype", *PANELS["Fine-tuning"], "tokens_per_batch", "seed"))
def similarity(
    settings: dict[str, str],
    small: Annotated[
        list[str],
        typer.Option("--small", help="A small model that may speak for a target; give it once for each."),
    ],
    target: Annotated[list[str], typer.Option("--target", help="A target; give it once for each.")],
    sample: Annotated[int, _of_similarity("sample")] = SimilarityPlan.model_fields["sample"].default,
    strata: Annotated[int, _of_similarity("strata")] = SimilarityPlan.model_fields["strata"].default,
    name: Annotated[
        str | None, typer.Option(help="What to call the run; made up where not given.", metavar="TEXT")
    ] = None,
    detach: Detach = False,
) -> None:
    """Compare how models score the same samples: each small model beside each target.

    Small models are fine-tuned on all rows, as in a run, targets on --tune-target samples; both are
    scored untouched too.
    """
    from staff_engine.dataset import check_source
    from staff_engine.models import find_model

    compared = SimilarityPlan.make(smalls=tuple(small), targets=tuple(target), sample=sample, strata=strata)
    plan = Plan.make(**settings, small=small[0], target=target[0])
    check_source(plan.dataset)
    for model in (*small, *target):
        find_model(model)
    created = runs.create_run(plan, name=name, similarity=compared)
    runs.start(created)
    _watch(created, detach)


@app.command()
def compare(
    run: RunName,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help=f"A method to choose by; give it once for each: {', '.join(METHODS)}. Default: all.",
            show_default=False,
        ),
    ] = None,
    pruning_rate: Annotated[
        list[float] | None,
        typer.Option(
            "--pruning-rate",
            help="Fraction of the samples that is left out, 0 or more and below 1; give it once for each."
            " Default: as in the run's plan.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of what is drawn. Default: as in the run's plan.", show_default=False)
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="Fraction of the hardest that CCS and D2 leave out, 0 or more and below 1. Default: what"
            " STAFF leaves out, the plan's drop_hardest.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Parquet file to write which rows each method keeps to.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate",
            help="Fine-tune the target on each coreset, on all samples and on nothing, and judge it on"
            " held-out samples: a run of its own. With RUN such a run, add to it what is given.",
        ),
    ] = False,
    seeds: Annotated[int | None, _of_comparison("seeds")] = None,
    budget: Annotated[str | None, _of_comparison("budget", metavar="epochs|steps|both")] = None,
    baseline_scores: Annotated[str | None, _of_comparison("baseline_scores", metavar="small|target")] = None,
    also: Annotated[
        list[str] | None,
        _of_comparison("also", more=" As LABEL=RUN or RUN; give it once for each.", metavar="LABEL=RUN"),
    ] = None,
    held_out: Annotated[str | None, _of_comparison("held_out", metavar="FILE")] = None,
    held_out_samples: Annotated[int | None, _of_comparison("held_out_samples")] = None,
    answers: Annotated[int | None, _of_comparison("answers")] = None,
    answer_tokens: Annotated[int | None, _of_comparison("answer_tokens")] = None,
    metric: Annotated[str | None, _of_comparison("metric", metavar="auto|rouge-l|chrf")] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="What to call the run; made up where not given.",
            metavar="TEXT",
            rich_help_panel="With --evaluate",
        ),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Only say how long it will take.", rich_help_panel="With --evaluate"),
    ] = False,
    detach: Detach = False,
) -> None:
    """Set the run's coresets by STAFF and by other methods beside each other; no model runs.

    D2 looks for every sample's nearest neighbours: minutes for 100,000 samples. With --evaluate
    the target is fine-tuned on each coreset, which takes as long as is said before it starts.
    """
    asked = {
        "methods": tuple(method) if method else None,
        "pruning_rates": tuple(pruning_rate) if pruning_rate else None,
        "beta": beta,
        "seeds": seeds, "budget": budget, "baseline_scores": baseline_scores, "held_out": held_out,
        "held_out_samples": held_out_samples, "answers": answers, "answer_tokens": answer_tokens,
        "metric": metric,
    }  # fmt: skip
    if evaluate:
        if out is not None or as_json:
            raise PlanError("--out and --json do not go with --evaluate; status RUN --json gives the table")
        _evaluate(run, asked, also or [], seed=seed, name=name, estimate_only=estimate, detach=detach)
        return
    given = [name for name in EVALUATE_ONLY if asked[name] is not None]
    given += [word for word, value in (("also", also), ("name", name), ("estimate", estimate)) if value]
    if given:
        raise PlanError(f"--{given[0].replace('_', '-')} is for --evaluate, which is not given")
    from staff_engine.delivery import check_out
    from staff_engine.method_comparison import compare_methods, write_choices
    from staff_engine.methods import small_scores
    from staff_engine.results import open_results

    found = _scored(run)
    results = open_results(found.folder)
    if out is not None:
        check_out(out, results.plan)
    comparisons = compare_methods(
        results,
        small_scores(results),
        method or tuple(METHODS),
        pruning_rates=pruning_rate or [results.plan.pruning_rate],
        seed=results.plan.seed if seed is None else seed,
        beta=beta,
    )
    done = list(comparisons)
    if out is not None:
        write_choices(out, results.num_rows, done)
    if as_json:
        _say_json([comparison.as_json() for comparison in done])
        return
    from rich.console import Console

    from staff_engine.method_table import print_comparison

    for comparison in done:
        print_comparison(comparison, Console())
    if out is not None:
        typer.echo(f"which rows each method keeps is written to {out}")


def _evaluate(
    run: str,
    asked: dict[str, Any],
    also: list[str],
    *,
    seed: int | None,
    name: str | None,
    estimate_only: bool,
    detach: bool,
) -> None:
    """Start a comparison of a run's coresets, or add to one that is there."""
    from staff_engine import comparing
    from staff_engine.comparison_table import estimate_words

    asked = {**asked, "also": comparing.further_runs(also)}
    found = runs.find_run(run, kind="coreset")
    known = found if runs.kind_of(found) == "comparison" else None
    if known is not None and (name or seed is not None):
        raise PlanError(
            f"run {found.id} has its name and its first seed; --name and --seed are for a new one"
        )
    if known is not None:
        plan, comparison = runs.read_record(known).plan, comparing.extended(known, **asked)
    else:
        plan, comparison = comparing.plan_comparison(found, seed=seed, **asked)
    typer.echo(estimate_words(comparing.estimate_of(plan, comparison, known)))
    if estimate_only:
        return
    if known is None:
        known = comparing.create(plan, comparison, name=name)
    else:
        comparing.add_to(known, comparison)
    runs.start(known)
    _watch(known, detach)


@app.command(hidden=True)
def work(folder: Path) -> None:
    """Work on a run in this process; `run`, `resume`, `verify` and `similarity` start it."""
    from staff_engine.reporter import Cancelled
    from staff_engine.worker import working

    found = Run(folder.name, folder.resolve())
    try:
        with working(found) as reporter:
            from staff_engine.work import do

            do(found, reporter)
    except Cancelled:
        raise typer.Exit(1) from None


def _scored(run: str) -> Run:
    return runs.require_scores(runs.find_run(run, kind="coreset"))


def _watch(found: Run, detach: bool = False, cancels: bool = True) -> None:
    from staff_engine.watching import leave, watch

    if detach:
        leave(found)
    else:
        watch(found, cancels=cancels)


def _say_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    int
        0 done; 2 a wrong input or plan, with one line on standard error that says
        what; 1 anything else.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        code = app(words, prog_name=PROGRAM, standalone_mode=False) or 0
        return code if code in (0, 2) else 1
    except (StaffError, typer.TyperException) as error:
        if debug:
            raise
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        typer.echo(f"error: {' '.join(message.split())}", err=True)
        return 2
    except typer.Abort:
        typer.echo("stopped; nothing was changed", err=True)
    except Exception as error:
        if debug:
            raise
        line = " ".join(str(error).split())
        typer.echo(f"error: {type(error).__name__}: {line} (--debug shows the traceback)", err=True)
    return 1
