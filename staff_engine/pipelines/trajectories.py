"""The loss of every sample at checkpoints of the small model's fine-tuning, for S2L."""

from __future__ import annotations

from pathlib import Path

from staff_engine.data.tokens import TokenTable, open_tokens
from staff_engine.errors import RunError
from staff_engine.models import adapters, loading
from staff_engine.models.finetune import checkpoint_steps, count_steps
from staff_engine.pipelines.steps import Reporter, score_losses
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.results import TRAJECTORY
from staff_engine.scoring.parts import LossPartWriter, read_parts

ADAPTER = "adapter_checkpoints"
"""The folder of an adapter in the folder of its checkpoint, with a name that the record of lasting files passes over."""


def adapters_to_keep(plan: Plan, tokens: TokenTable, folder: Path) -> dict[int, Path]:
    """Step → folder, for the checkpoints of a plan except the last, which is the fine-tuned model."""
    steps = count_steps(len(tokens), epochs=plan.epochs, batch_size=plan.batch_size)
    return {step: _folder(folder, step) / ADAPTER for step in checkpoint_steps(steps, plan.checkpoints)[:-1]}


def measure_trajectories(plan: Plan, folder: Path, reporter: Reporter) -> None:
    """Compute the losses of all samples at each checkpoint, from the last complete file on.

    Parameters
    ----------
    folder
        A run folder whose small model is fine-tuned with the adapters of `adapters_to_keep`.

    Raises
    ------
    RunError
        If an adapter is missing whose losses are not complete.
    """
    tokens = open_tokens(folder / "tokens.arrow")
    kept = adapters_to_keep(plan, tokens, folder)
    done = {step: _done(folder, step) for step in kept}
    reporter.stage(stages.TRAJECTORIES, len(kept) * len(tokens), done=sum(map(len, done.values())))
    for step, path in kept.items():
        if len(done[step]) < len(tokens):
            if not path.exists():
                raise RunError(
                    f"{path} is missing, so the losses at step {step:,} cannot be measured; start a new run"
                )
            model = loading.load_model(plan.small, device=plan.device, dtype=plan.dtype)
            adapted = adapters.load_adapter(model, path)
            tokenizer = loading.load_tokenizer(plan.small)
            score_losses(
                plan, adapted, tokenizer, tokens, done[step], LossPartWriter(path.parent, "loss"), reporter
            )


def _folder(folder: Path, step: int) -> Path:
    return folder / TRAJECTORY / f"step-{step:07d}"


def _done(folder: Path, step: int) -> set[int]:
    return set(read_parts(_folder(folder, step), ["row_id"])["row_id"].to_pylist())
