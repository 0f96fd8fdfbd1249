"""The command that compares the scores of several models."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from staff_engine.cli.arguments import Detach, NewName, see_through
from staff_engine.cli.command_lines import COMPARED_BY
from staff_engine.cli.options import takes_settings
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.similarity_plan import SimilarityPlan


def _of_similarity(name: str) -> Any:
    return typer.Option(f"--{name}", help=SimilarityPlan.model_fields[name].description)


@takes_settings(COMPARED_BY)
def similarity(
    settings: dict[str, str],
    small: Annotated[
        list[str],
        typer.Option("--small", help="A small model to compare with each target; repeat for several."),
    ],
    target: Annotated[list[str], typer.Option("--target", help="A target; repeat for several.")],
    sample: Annotated[int, _of_similarity("sample")] = SimilarityPlan.model_fields["sample"].default,
    strata: Annotated[int, _of_similarity("strata")] = SimilarityPlan.model_fields["strata"].default,
    name: NewName = None,
    detach: Detach = False,
) -> None:
    """Compare how small models and targets score the same samples.

    Small models are fine-tuned on all rows, as in a run, and targets on --tune-target samples. Both
    also score the samples untouched.
    """
    from staff_engine.data.locating import check_source
    from staff_engine.models.sources import find_model

    compared = SimilarityPlan.make(smalls=tuple(small), targets=tuple(target), sample=sample, strata=strata)
    plan = Plan.make(**settings, small=small[0], target=target[0])
    check_source(plan.dataset)
    for model in (*small, *target):
        find_model(model)
    created = control.create_run(plan, name=name, similarity=compared)
    control.start(created)
    see_through(created, detach)
