"""Work on a batch of samples in smaller batches if it does not fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from staff_engine.data.tokens import EncodedSample
from staff_engine.errors import ModelError

log = logging.getLogger(__name__)

_Part = TypeVar("_Part")


def in_fitting_batches(
    work: Callable[[Sequence[EncodedSample]], _Part],
    samples: Sequence[EncodedSample],
    most_tokens: int | None,
    *,
    in_step: bool = False,
) -> tuple[list[_Part], int | None]:
    """Work on samples in order; a batch that does not fit into memory is halved until it does.

    Parameters
    ----------
    work
        Works on a batch of samples.
    samples
        At least one.
    most_tokens
        Maximum tokens of a batch, including padding; None for all samples at once.
    in_step
        Whether other processes must run the model equally often, so that no batch can be halved.

    Returns
    -------
    parts
        The result of each batch.
    most_tokens
        The maximum for the following batches: lower if a batch did not fit.

    Raises
    ------
    ModelError
        If not even a single sample fits, or a batch does not and cannot be halved.
    """
    before = most_tokens
    parts: list[_Part] = []
    rest = samples
    while len(rest):
        batch = rest[: _fitting(rest, most_tokens)]
        try:
            parts.append(work(batch))
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not is_out_of_memory(error):
                raise
            if in_step:
                raise ModelError(
                    f"a batch of {len(batch)} samples of up to {_longest(batch):,} tokens does not fit into"
                    " memory, and a target that is divided over processes cannot score it in parts; lower"
                    " tokens_per_batch"
                ) from None
            if len(batch) == 1:
                raise ModelError(
                    f"a single sample of {_longest(batch):,} tokens does not fit into memory; "
                    "lower max_length, or use a smaller model or dtype bfloat16"
                ) from None
            most_tokens = len(batch) // 2 * _longest(batch)
        else:
            rest = rest[len(batch) :]
            continue
        _free_memory()
    if most_tokens != before:
        log.warning(
            "A batch of %d samples did not fit into memory. The following batches have at most %s tokens.",
            len(samples), f"{most_tokens:,}",
        )  # fmt: skip
    return parts, most_tokens


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means insufficient memory, on a GPU or, without a class in torch, on a CPU."""
    import torch

    words = ("can't allocate memory", "not enough memory", "out of memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and any(each in str(error) for each in words))


def _fitting(samples: Sequence[EncodedSample], most_tokens: int | None) -> int:
    """The number of samples for the next batch: all, until a batch did not fit; at least one."""
    return len(samples) if most_tokens is None else max(1, most_tokens // _longest(samples))


def _longest(samples: Sequence[EncodedSample]) -> int:
    return max(len(sample.input_ids) for sample in samples)


def _free_memory() -> None:
    """Free the memory of a failed attempt, after its exception is gone."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
