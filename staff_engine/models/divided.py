"""One fine-tuning step in several processes: each computes the gradients of some parts of the batch.

A batch is divided into a number of parts that does not depend on the number of processes, and the gradients
of the parts are added in the order of the parts. So the trained weights are the same, bit for bit, however
many processes do the work. Random layers (dropout) draw with a seed of their own for each part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.data.tokens import EncodedSample
from staff_engine.models.forward import Batch, pad
from staff_engine.system import team

if TYPE_CHECKING:
    import torch
    from torch import nn

SEEDS = 2**63


def own_parts(
    batch: Sequence[EncodedSample], parts: int, *, pad_token_id: int, in_step: bool = False
) -> dict[str, Any]:
    """The parts of a batch that this process computes, padded, and the response tokens of all parts.

    Parameters
    ----------
    in_step
        Whether all processes must run the model equally often.

    Returns
    -------
    dict
        "own": number of a part → the fields of its `Batch`; a part without samples is left out. "tokens":
        the response tokens of the whole batch. "idle": the fields of batches whose result is not used.
    """
    tokens = sum(int(np.count_nonzero(sample.response_mask[1:])) for sample in batch)
    count = min(parts, len(batch))
    own = {
        part: vars(pad(batch[part::parts], pad_token_id=pad_token_id))
        for part in range(team.rank(), count, team.size())
    }
    rounds = -(-count // team.size()) if in_step else len(own)
    idle = [vars(pad(batch[:1], pad_token_id=pad_token_id))] * (rounds - len(own))
    return {"own": own, "tokens": tokens, "idle": idle}


def divided_step(
    parameters: Sequence[nn.Parameter],
    divided: dict[str, Any],
    mean_loss: Callable[[Batch], torch.Tensor],
    *,
    parts: int,
    seed: int,
) -> torch.Tensor:
    """Compute the gradient of a step in all processes of the team. Every process must call it.

    Parameters
    ----------
    parameters
        The trained parameters, without gradients. They get the gradient of the mean loss over the response
        tokens of the whole batch.
    divided
        From `own_parts`, on the model's device.
    mean_loss
        The mean loss over the response tokens of a part.
    parts
        Number of parts of a batch.
    seed
        For random layers; another one for each step.

    Returns
    -------
    tensor
        The mean loss over the response tokens of the whole batch, a number.

    Raises
    ------
    Lost
        If another process is gone.
    """
    import torch

    count = sum(each.numel() for each in parameters)
    table = torch.zeros((parts, count + 1), dtype=torch.float32, device=parameters[0].device)
    for part, fields in divided["own"].items():
        batch = Batch(**fields)
        torch.manual_seed((seed * parts + part) % SEEDS)
        loss = mean_loss(batch) * (len(batch.rows) / divided["tokens"])
        loss.backward()  # type: ignore[no-untyped-call]
        _take(parameters, table[part, :count])
        table[part, count] = loss.detach()
    for fields in divided["idle"]:
        mean_loss(Batch(**fields)).backward()  # type: ignore[no-untyped-call]
        for each in parameters:
            each.grad = None
    team.sum_over_all(table)  # the other processes have zeros in the rows of this one
    total = table[0].clone()
    for row in table[1:]:
        total += row
    gradients = total[:count].split([each.numel() for each in parameters])
    for each, flat in zip(parameters, gradients, strict=True):
        each.grad = flat.view_as(each).to(each.dtype)
    return total[count]


def _take(parameters: Sequence[nn.Parameter], row: torch.Tensor) -> None:
    """Move the gradients of the parameters to a row."""
    start = 0
    for each in parameters:
        if each.grad is not None:
            row[start : start + each.numel()] = each.grad.flatten()
        each.grad = None
        start += each.numel()
