"""The output file of a run or selection: checked before the work, written after it."""

from __future__ import annotations

import os
from pathlib import Path

from staff_engine.errors import RunError
from staff_engine.export.coreset import check_export, check_targets, export_coreset
from staff_engine.export.targets import refuse_run_files, source_files
from staff_engine.plan import Plan
from staff_engine.runs.folders import Delivery, Run
from staff_engine.runs.results import open_results


def plan_delivery(
    out: Path,
    format: str,
    with_scores: bool,
    plan: Plan,
    *,
    overwrite: bool = False,
    recipe: str | None = None,
) -> Delivery:
    """Check what to write and where.

    Raises
    ------
    PlanError
        If the format is unknown, or cannot include scores.
    StaffError
        If the file cannot be written, or would replace the data set, a file of a run or, without
        `overwrite`, somebody else's file.
    """
    delivery = Delivery(out=out.expanduser().absolute(), format=format, with_scores=with_scores)
    check_delivery(delivery, plan)
    check_targets(delivery.out, overwrite=overwrite, recipe=recipe)
    return delivery


def check_delivery(delivery: Delivery, plan: Plan) -> None:
    """Raise StaffError if a coreset cannot be written as requested."""
    check_export(delivery.out, delivery.format, with_scores=delivery.with_scores)
    check_out(delivery.out, plan)


def check_out(out: Path, plan: Plan) -> None:
    """Raise RunError if a file cannot be written, or would replace the data set of a plan."""
    out = out.expanduser().absolute()
    refuse_run_files([out])
    if not os.access(out.parent, os.W_OK | os.X_OK):
        why = "" if out.parent.exists() else " (it does not exist)"
        raise RunError(f"the folder {out.parent} cannot be written to{why}, so {out.name} cannot be written")
    if out.exists() and any(out.samefile(source) for source in source_files(plan)):
        raise RunError(f"{out} is the data set itself; choose another file for the coreset")


def deliver(run: Run, delivery: Delivery) -> int:
    """Write the coreset of a run's own plan; return its number of samples. Raises StaffError.

    What is there is replaced: `plan_delivery` has checked it before the work, and a run that was
    killed while it wrote leaves files without their manifest.
    """
    results = open_results(run.folder)
    selection = results.select()
    export_coreset(
        results,
        selection,
        results.settings(),
        delivery.out,
        format=delivery.format,
        with_scores=delivery.with_scores,
        overwrite=True,
    )
    return len(selection.indices)
