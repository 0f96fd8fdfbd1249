"""The command `trajectory`: losses at checkpoints of the small model's fine-tuning, for a finished run."""

from __future__ import annotations

from typing import Annotated

import typer

from staff_engine.cli.arguments import Detach, RunName, scored, see_through
from staff_engine.cli.terminal import say
from staff_engine.pipelines.trajectories import CHECKPOINTS, ask_for_trajectories
from staff_engine.runs import control


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
