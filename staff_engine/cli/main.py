"""The command line. Each command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from staff_engine import __version__
from staff_engine.cli import scores
from staff_engine.cli.arguments import (
    AsJson,
    Detach,
    NewName,
    Processes,
    RunName,
    in_words,
    say_json,
    scored,
    see_through,
    settle,
)
from staff_engine.cli.compare import compare
from staff_engine.cli.exporting import (
    ExportFormat,
    FormatOfExport,
    Out,
    Output,
    Overwrite,
    Private,
    Push,
    RecipeName,
    To,
    WithScores,
    say_warnings,
)
from staff_engine.cli.options import PANELS, read_plan_file, takes_settings
from staff_engine.cli.selecting import select, trajectory, verify
from staff_engine.cli.similarity import similarity
from staff_engine.cli.terminal import confirm, console, say
from staff_engine.errors import DatasetError, PlanError, StaffError
from staff_engine.plan import Plan
from staff_engine.program import COMMAND, NAME, SCRIPT
from staff_engine.runs import control
from staff_engine.runs.folders import Run
from staff_engine.system.disk import full_disk
from staff_engine.system.home import home
from staff_engine.system.processes import QUIET_LOG
from staff_engine.system.team import launched, size

STARTS = ("run", "verify", "compare", "trajectory", "similarity")
"""Commands that start a run. Several processes that torchrun started would start one each."""

app = typer.Typer(
    name=COMMAND,
    help=f"Select the part of a fine-tuning set that is worth training on. {SCRIPT} without a command opens "
    "the app. Times are in seconds, sizes in samples and tokens. Rates are fractions from 0 to 1.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _every_command(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the app. Default: 8501, or the next free one.",
            metavar="N",
            min=1,
            max=65535,
            show_default=False,
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Start the app without opening it in a browser.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
) -> None:
    if version:
        say(f"{NAME} {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        from staff_engine.cli.app import open_app

        open_app(port=port, browser=not no_browser)
    elif port is not None or no_browser:
        raise PlanError("--port and --no-browser are for the app and cannot be combined with a command")
    elif context.invoked_subcommand in STARTS and launched():
        raise PlanError(
            "torchrun has started several processes, and each of them would start a run of its own; create"
            " the run in one process (run --no-start), and start resume with torchrun"
        )


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
    overwrite: Overwrite = False,
    name: NewName = None,
    no_start: Annotated[
        bool,
        typer.Option(
            "--no-start",
            help="Only create the run, for torchrun or a job on other machines to work on with resume.",
        ),
    ] = False,
    detach: Detach = False,
) -> None:
    """Fine-tune the small model, score all samples, verify some on the target and select the coreset."""
    from staff_engine.data.locating import check_source
    from staff_engine.export.delivery import plan_delivery
    from staff_engine.models.sources import find_model
    from staff_engine.pipelines.forecast.job import keep_forecast
    from staff_engine.scoring.own_scores import with_own_score
    from staff_engine.selection.ratios.rounds import check_adaptive

    asked = {**(read_plan_file(plan_file) if plan_file else {}), **settings}
    plan = Plan.make(**(with_own_score(asked) if asked.get("scores") else asked))
    if plan.adaptive:
        check_adaptive(plan.allocation)
    delivery = plan_delivery(out, export_format, with_scores, plan, overwrite=overwrite) if out else None
    check_source(plan.dataset, plan.split)
    for model in plan.models:
        find_model(model)
    created = control.create_run(plan, name=name, delivery=delivery)
    if plan.scores is None:
        keep_forecast(created)
    if no_start:
        say(created.id)
        return
    control.start(created)
    see_through(created, detach)


app.command()(select)
app.command()(verify)


@app.command()
def resume(run: RunName, processes: Processes = None, detach: Detach = False) -> None:
    """Continue a run that was cancelled, failed or was interrupted, from its last complete file.

    Started by torchrun, by `accelerate launch` or in a Slurm job, its processes work on the run themselves.
    """
    from staff_engine.export.delivery import check_delivery

    found = control.find_run(run)
    record = control.read_record(found)
    if record.delivery is not None:
        check_delivery(record.delivery, record.plan)
    settle([found])
    if launched():
        os.environ.update(QUIET_LOG)  # read when the libraries are loaded
        _work(found, lambda: _take_over(found))
        return
    control.resume(found, processes=processes)
    see_through(found, detach)


def _take_over(run: Run) -> None:
    control.take_over(run)
    say(f"run {run.id}: {size()} processes work on it; to watch it: {COMMAND} status {run.id} --follow")


@app.command()
def cancel(run: RunName) -> None:
    """Stop a run and keep its files. `resume` continues from there."""
    found = control.find_run(run)
    say(f"run {found.id} is {control.cancel(found).state}; to continue: {COMMAND} resume {found.id}")


@app.command()
def status(
    run: RunName = "latest",
    as_json: AsJson = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress until the run ends.")] = False,
) -> None:
    """Show the state and progress of a run."""
    found = control.find_run(run)
    if follow:
        see_through(found, cancels=False)
        return
    from staff_engine.cli.reports import report_of

    settle([found])
    facts = control.describe(found)
    report = report_of(found)
    if as_json:
        say_json(facts.as_json() | ({"report": report.as_json()} if report else {}))
        return
    from staff_engine.cli.tables.runs import print_status

    print_status(facts)
    if report is not None:
        report.print_to(console())


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all runs, newest first."""
    runs = control.list_runs()
    settle(runs)
    listed = [control.describe(found) for found in runs]
    if as_json:
        say_json([each.as_json() for each in listed])
    elif not listed:
        say(f"no runs in {home() / 'runs'}")
    else:
        from staff_engine.cli.tables.runs import print_runs

        print_runs(listed)


@app.command()
def delete(
    run: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="One or more runs, named as in the other commands.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Delete runs and everything in their folders. Exported files are kept."""
    found = list(dict.fromkeys(map(control.find_run, run)))
    settle(found)
    for each in found:
        if not yes and not confirm(f"Delete {each.folder} and everything in it?"):
            say(f"run {each.id} is kept")
            continue
        control.delete(each)
        say(f"run {each.id} is deleted")


@app.command()
def export(
    run: RunName,
    out: Out = None,
    to: To = None,
    push: Push = None,
    private: Private = False,
    format: FormatOfExport = None,
    recipe: RecipeName = None,
    with_scores: WithScores = False,
    overwrite: Overwrite = False,
) -> None:
    """Write the coreset of a run's own plan to a file, a folder or the hub, in any format."""
    from staff_engine.runs.results import open_results

    found = scored(run)
    results = open_results(found.folder)
    output = Output(out, to, push, private, format, with_scores, overwrite, recipe)
    if not output.wanted:
        raise PlanError("nowhere to write the coreset; give --out FILE, --to DIR or --push ORG/NAME")
    output.check(results)
    selection = results.select()
    places, warnings = output.write(results, selection, results.settings())
    say(f"{len(selection.indices):,} samples written to {' and '.join(places)}")
    say_warnings([*selection.warnings, *warnings])


@app.command()
@takes_settings(PANELS["Data"])
def inspect(settings: dict[str, str], as_json: AsJson = False) -> None:
    """Check every row of a data set: format, lengths, duplicates, and unusable rows with the reason."""
    from staff_engine.data.inspection.findings import DataChoice, in_sentences
    from staff_engine.data.inspection.job import findings_of

    plan = Plan.make(**{"small": "-", "target": "-", **settings})
    findings = findings_of(DataChoice.of(plan))
    if as_json:
        say_json(findings.model_dump(mode="json"))
    else:
        for sentence in in_sentences(findings):
            say(sentence)
    if not findings.usable:
        raise DatasetError(f"{plan.dataset} has no usable row")


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
            help="Time for measuring batches; reading data and loading models takes additional time.",
            min=1,
        ),
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Measure a few batches and estimate the cost of a run: time of each stage, memory, time saved."""
    os.environ.update(QUIET_LOG, TRANSFORMERS_VERBOSITY="error")  # read when the libraries are loaded
    from staff_engine.cli.tables.forecast import forecast_table
    from staff_engine.pipelines.forecast.job import make_forecast

    plan = Plan.make(**{**(read_plan_file(plan_file) if plan_file else {}), **settings})
    if plan.scores is not None:
        raise PlanError("scores of a file need no forecast: no small model scores the samples")
    with console(stderr=True).status("starting") as shown:
        forecasted = make_forecast(plan, seconds=seconds, say=shown.update)
    if as_json:
        say_json(forecasted.model_dump(mode="json"))
    else:
        console().print(forecast_table(forecasted))


app.command()(compare)
app.command()(trajectory)
app.command()(similarity)
app.add_typer(scores.app, name="scores")


@app.command(hidden=True)
def work(folder: Path) -> None:
    """Work on a run in this process; `run`, `resume`, `verify` and `similarity` start it."""
    _work(Run(folder.name, folder.resolve()))


def _work(run: Run, begin: Callable[[], None] = lambda: None) -> None:
    from staff_engine.cli.work import work_on
    from staff_engine.runs.progress import Cancelled

    try:
        work_on(run, begin)
    except Cancelled:
        raise typer.Exit(1) from None


def main(arguments: Sequence[str] | None = None, *, default: Sequence[str] = ("--help",)) -> int:
    """Run a command.

    Parameters
    ----------
    arguments
        The arguments after the program's name; `sys.argv` if None.
    default
        The arguments to use if there are none. If this is empty too, the app opens.

    Returns
    -------
    int
        0 for success; 2 for a wrong input or plan, with one line on standard error that
        describes it; 1 for anything else.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or list(default)
    try:
        code = app(words, prog_name=COMMAND, standalone_mode=False) or 0
        return code if code in (0, 2) else 1
    except (StaffError, typer.TyperException) as error:
        if debug:
            raise
        message = in_words(error) if isinstance(error, typer.TyperException) else str(error)
        say(f"error: {' '.join(message.split())}", err=True)
        return 2
    except typer.Abort:
        say("aborted; nothing was changed", err=True)
    except Exception as error:
        if debug:
            raise
        line = " ".join(str(error).split())
        full = full_disk(error, home())
        if full is not None:
            say(f"error: {full}", err=True)
            return 1
        say(f"error: {type(error).__name__}: {line} (--debug shows the traceback)", err=True)
    return 1


def studio() -> int:
    """Run `staff-studio`: a command as in `main`, or the app if no command is given."""
    return main(default=())
