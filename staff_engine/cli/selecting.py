"""The commands for a run that has its scores: select, and score on the models what other settings need."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from staff_engine.cli.arguments import AsJson, Detach, Processes, RunName, say_json, scored, see_through
from staff_engine.cli.exporting import (
    FormatOfSelect,
    Out,
    Output,
    Overwrite,
    Private,
    Push,
    RecipeName,
    To,
    WithScores,
)
from staff_engine.cli.options import takes_settings
from staff_engine.cli.terminal import say
from staff_engine.pipelines.trajectories import CHECKPOINTS, ask_for_trajectories
from staff_engine.plan import SELECTION_FIELDS, VERIFY_FIELDS
from staff_engine.program import COMMAND
from staff_engine.runs import control


@takes_settings(SELECTION_FIELDS, default="as in the run's plan")
def select(
    run: RunName,
    settings: dict[str, str],
    out: Out = None,
    to: To = None,
    push: Push = None,
    private: Private = False,
    export_format: FormatOfSelect = None,
    recipe: RecipeName = None,
    with_scores: WithScores = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Select a coreset from a run's scores with other settings; no model is run."""
    from staff_engine.runs.composition import kinds_in_words, response_lengths
    from staff_engine.runs.cost import price, run_cost, token_share
    from staff_engine.runs.results import open_results
    from staff_engine.runs.verification.drawing import to_verify, verify_options

    found = scored(run)
    results = open_results(found.folder)
    output = Output(out, to, push, private, export_format, with_scores, overwrite, recipe)
    output.check(results)
    chosen = results.settings(**settings)
    selection = results.select(**chosen)
    lengths = response_lengths(results, selection.indices)
    answer: dict[str, Any] = {
        "run_id": found.id,
        "settings": chosen,
        "coreset_size": len(selection.indices),
        "near_duplicates": len(selection.duplicates),
        "response_tokens": lengths.sentence,
        "kinds": kinds_in_words(results, selection.indices),
        "price": price(
            run_cost(results.summary, results.timings), token_share(results, selection.indices)
        ).line,
        "to_verify": len(to_verify(results, **chosen)),
        "warnings": list(selection.warnings),
    }
    if output.wanted:
        places, warnings = output.write(results, selection, chosen)
        answer["warnings"] += warnings
        answer |= {"out": places[0], "places": places, "format": output.format}
    elif as_json:
        answer["row_ids"] = selection.indices.tolist()
    wanted = verify_options(results, **chosen)
    each = results.summary.verify_seconds_per_sample
    if as_json:
        say_json(answer)
        return
    from staff_engine.cli.tables.selection import print_selected

    print_selected(answer, f"{COMMAND} verify {found.id}{wanted}", each * answer["to_verify"])


@takes_settings(VERIFY_FIELDS, default="as in the run's plan")
def verify(
    run: RunName, settings: dict[str, str], processes: Processes = None, detach: Detach = False
) -> None:
    """Score on the target the samples that these settings still need, at once or in rounds (--adaptive).

    With --score ifd, also score the responses without their prompts on both models, if the run has not.
    """
    from staff_engine.runs.results import open_results
    from staff_engine.runs.verification.drawing import to_verify, to_verify_alone
    from staff_engine.selection.ratios.rounds import check_adaptive

    found = scored(run)
    results = open_results(found.folder)
    plan = results.plan.but(**settings)
    if plan.adaptive:
        check_adaptive(plan.allocation)
    wanted = {field: getattr(plan, field) for field in VERIFY_FIELDS}
    if results.lacks(plan.score):
        say(f"both models score responses without their prompts, which score {plan.score} needs")
    else:
        missing = len(to_verify(results, **wanted))
        if not missing and not len(to_verify_alone(results)):
            say("no samples left to verify")
            return
        say(f"{missing:,} samples to verify{' in the next round' if plan.adaptive else ''}")
    control.start(found, verify=wanted, processes=processes)
    see_through(found, detach)


def trajectory(
    run: RunName,
    checkpoints: Annotated[
        int, typer.Option(help="Number of checkpoints, at equal distances; the last is the end.", min=1)
    ] = CHECKPOINTS,
    detach: Detach = False,
) -> None:
    """Measure the losses that the method s2l reads, in a run that has finished without them.

    The small model is fine-tuned again with the same seed, which must give the same adapter. Then all samples
    go through it once per checkpoint. `resume` continues if it is stopped.
    """
    found = scored(run)
    if not ask_for_trajectories(found, checkpoints):
        say(f"the losses at {checkpoints:,} checkpoints are measured already")
        return
    control.start(found)
    see_through(found, detach)
