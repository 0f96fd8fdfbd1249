"""The losses at checkpoints of the small model's fine-tuning: where they are, and whether all of them are."""

from __future__ import annotations

from pathlib import Path

from staff_engine.models.finetune import checkpoint_steps, count_steps
from staff_engine.plan import Plan
from staff_engine.scoring.parts import count_parts

TRAJECTORY = "trajectory"
"""The losses at checkpoints of the small model's fine-tuning: a score folder for each step."""


def step_folders(plan: Plan, samples: int) -> dict[int, str]:
    """Step → score folder, relative to the run's, for the checkpoints of a plan except the last.

    The last checkpoint is the fine-tuned model, whose losses are among its scores.

    Parameters
    ----------
    samples
        Number of samples that the small model is fine-tuned on.
    """
    steps = checkpoint_steps(
        count_steps(samples, epochs=plan.epochs, batch_size=plan.batch_size), plan.checkpoints
    )
    return {step: f"{TRAJECTORY}/step-{step:07d}" for step in steps[:-1]}


def measured_folders(folder: Path, plan: Plan) -> list[str]:
    """The score folders with the losses at all checkpoints of a plan; empty if some are not measured."""
    samples = count_parts(folder / "speculative")
    folders = list(step_folders(plan, samples).values())
    complete = all(count_parts(folder / each) == samples for each in folders)
    return [*folders, "speculative"] if plan.checkpoints and complete else []
