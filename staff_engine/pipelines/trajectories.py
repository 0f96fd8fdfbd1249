"""The loss of every sample at checkpoints of the small model's fine-tuning, for S2L.

A run that was started without checkpoints fine-tunes its small model again for them. The seed and the order
of the samples are the same, so the adapter at the end must be the same too, byte for byte.
"""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

from staff_engine.data.tokens import TokenTable, open_tokens
from staff_engine.errors import RunError
from staff_engine.pipelines.adapted import WEIGHTS, AdaptedModel
from staff_engine.pipelines.helping import Reporter
from staff_engine.pipelines.scoring import score_losses
from staff_engine.pipelines.steps import Training, train_adapter
from staff_engine.plan import Plan
from staff_engine.runs import control, stages
from staff_engine.runs.folders import Run
from staff_engine.runs.integrity.check import check_files
from staff_engine.runs.results import open_results
from staff_engine.scoring.parts import LossPartWriter, read_parts
from staff_engine.scoring.trajectories import measured_folders, step_folders

ADAPTER = "adapter"
"""The folder of an adapter in the folder of its checkpoint."""

CHECKPOINTS = 10
"""Checkpoints if nobody says how many."""

AGAIN = "retraining-{count}_checkpoints"
"""The folder of a second fine-tuning for a number of checkpoints, until it has ended."""


def ask_for_trajectories(run: Run, checkpoints: int) -> bool:
    """Change the number of checkpoints of a finished run. `control.start` then measures them.

    Returns
    -------
    bool
        Whether there is something to measure.

    Raises
    ------
    RunError
        If the run does not have its scores yet, or a process works on it.
    PlanError
        If the number is not allowed.
    """
    control.require_scores(run)
    control.require_no_process(run)
    plan = open_results(run.folder).plan.but(checkpoints=checkpoints)
    control.update_record(run, plan=plan)
    return not measured_folders(run.folder, plan)


def adapters_to_keep(plan: Plan, tokens: TokenTable, folder: Path) -> dict[int, Path]:
    """Step → folder, for the checkpoints of a plan except the last, which is the fine-tuned model."""
    return {step: folder / each / ADAPTER for step, each in step_folders(plan, len(tokens)).items()}


def measure_trajectories(plan: Plan, folder: Path, reporter: Reporter) -> None:
    """Compute the losses of all samples at each checkpoint, from the last complete file on.

    Parameters
    ----------
    folder
        A run folder whose small model is fine-tuned. If an adapter is missing whose losses are not
        complete, the model is fine-tuned again.

    Raises
    ------
    RunError
        If a second fine-tuning does not give the run's adapter.
    """
    tokens = open_tokens(folder / "tokens.arrow")
    kept = adapters_to_keep(plan, tokens, folder)
    done = {step: _done(path.parent) for step, path in kept.items()}
    missing = {
        step: path for step, path in kept.items() if len(done[step]) < len(tokens) and not path.exists()
    }
    if missing:
        _train_again(plan, tokens, folder, missing, reporter)
    reporter.stage(stages.TRAJECTORIES, len(kept) * len(tokens), done=sum(map(len, done.values())))
    for step, path in kept.items():
        if len(done[step]) < len(tokens):
            adapted = AdaptedModel(plan, plan.small, path)
            score_losses(adapted, tokens, done[step], LossPartWriter(path.parent, "loss"), reporter)


def _train_again(
    plan: Plan, tokens: TokenTable, folder: Path, missing: dict[int, Path], reporter: Reporter
) -> None:
    """Fine-tune the small model as before, for its adapters at some steps."""
    work = folder / AGAIN.format(count=plan.checkpoints)
    for other in folder.glob(AGAIN.format(count="*")):
        if other != work:
            shutil.rmtree(other)
    work.mkdir(exist_ok=True)
    keep = {step: work / f"step-{step:07d}" for step in missing}
    training = Training(stages.TRAIN_AGAIN, f"{work.name}/{ADAPTER}", f"{work.name}/losses.json")
    if not (work / ADAPTER).exists():
        train_adapter(training, plan, plan.small, tokens, folder, reporter, keep=keep)
    check_files(folder, ADAPTER)
    if not filecmp.cmp(work / ADAPTER / WEIGHTS, folder / ADAPTER / WEIGHTS, shallow=False):
        shutil.rmtree(work)
        raise RunError(
            "fine-tuning the small model again gave another adapter than the run has, so its checkpoints are"
            " not those of the run; the machine, the device or the versions of the libraries are others."
            f" Start a new run with --checkpoints {plan.checkpoints}"
        )
    for step, path in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        keep[step].rename(path)
    shutil.rmtree(work)


def _done(folder: Path) -> set[int]:
    return set(read_parts(folder, ["row_id"])["row_id"].to_pylist())
