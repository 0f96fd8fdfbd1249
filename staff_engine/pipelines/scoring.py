"""The scoring of a run, in all of its processes; it continues where it stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from staff_engine.data.tokens import EncodedSample, TokenTable, open_tokens
from staff_engine.models import adapters, loading
from staff_engine.pipelines.adapted import AdaptedModel
from staff_engine.pipelines.helping import HelperReporter, Reporter, shared
from staff_engine.scoring.losses import LossScorer, first_token
from staff_engine.scoring.parts import LossPartWriter, PartWriter
from staff_engine.scoring.scorer import Scorer, plan_batches
from staff_engine.system import team
from staff_engine.system.calls import Call, Stopped
from staff_engine.system.files import read_checked, write_checked

_Out = TypeVar("_Out", covariant=True)
_In = TypeVar("_In", contravariant=True)

SHRUNK_FILE = "batches.json"
"""First row of each batch that did not fit into memory, and the maximum tokens per batch from there. A helper
has a file of its own."""

SHRUNK_FILES = "batches*.json"


class _Scores(Protocol[_Out]):
    most_tokens: int | None

    def score(self, samples: Sequence[EncodedSample]) -> _Out: ...


class _Writes(Protocol[_In]):
    folder: Path

    def add(self, tokens: TokenTable, batch: np.ndarray, scores: _In, seconds: float) -> None: ...
    def flush(self) -> None: ...


@dataclass(frozen=True)
class _Deal:
    """The batches to score, which are dealt to the processes."""

    left: np.ndarray
    """The numbers of the batches that are not done, ascending."""
    limits: dict[int, int]
    """Number of a batch that did not fit into memory → maximum tokens of a part from there on."""

    def limit(self, index: int, known: int | None) -> int | None:
        """The maximum tokens for a batch: memory that was too small for one batch stays so for later ones."""
        here = self.left[min(index, len(self.left) - 1)]
        before = [limit for number, limit in self.limits.items() if number <= here]
        return min([*before, *([] if known is None else [known])], default=None)


@dataclass(frozen=True)
class _Job:
    """What is computed, and on which model."""

    adapted: AdaptedModel
    scored: str | None
    """The parameters whose gradient is the effort. None: only losses are computed."""
    without_prompts: bool

    def batches(self, tokens: TokenTable) -> list[np.ndarray]:
        """All batches of the samples, as indices."""
        lengths = tokens.response_tokens + 1 if self.without_prompts else tokens.lengths
        return plan_batches(lengths, tokens=self.adapted.plan.tokens_per_batch)

    def scorer(self) -> _Scores[Any]:
        tokenizer = loading.load_tokenizer(self.adapted.name)
        model, padding = self.adapted.model, tokenizer.pad_token_id
        if self.scored is not None:
            return Scorer(model, adapters.scored_layers(model, self.scored), pad_token_id=padding)
        first = first_token(tokenizer) if self.without_prompts else None
        return LossScorer(model, first=first, pad_token_id=padding)


def score_samples(
    adapted: AdaptedModel,
    tokens: TokenTable,
    done: set[int],
    writer: PartWriter,
    reporter: Reporter,
    *,
    scored: str | None = None,
) -> None:
    """Score all samples that are not done; scores are on disk even if this is cancelled.

    Reductions of the batch size, to fit memory, are stored with the scores. So a resumed run uses
    the same batches.

    Parameters
    ----------
    done
        Row ids whose scores are on disk: those of whole batches.
    scored
        The parameters whose gradient is the effort, if not those of the plan.
    """
    _score(adapted, tokens, done, writer, reporter, scored=scored or adapted.plan.scored_parameters)


def score_losses(
    adapted: AdaptedModel,
    tokens: TokenTable,
    done: set[int],
    writer: LossPartWriter,
    reporter: Reporter,
    *,
    without_prompts: bool = False,
) -> None:
    """Compute only the losses of all samples that are not done, as `score_samples` does.

    With `without_prompts`, those of the responses alone.
    """
    _score(adapted, tokens, done, writer, reporter, scored=None, without_prompts=without_prompts)


def _score(
    adapted: AdaptedModel,
    tokens: TokenTable,
    done: set[int],
    writer: PartWriter | LossPartWriter,
    reporter: Reporter,
    *,
    scored: str | None,
    without_prompts: bool = False,
) -> None:
    job = _Job(adapted, scored, without_prompts)
    batches = job.batches(tokens)
    left = [number for number, batch in enumerate(batches) if int(tokens.row_ids[batch[0]]) not in done]
    if not left:
        writer.flush()
        return
    # A divided model runs equally often in all processes: no batch of it is cut.
    limits = {} if adapted.sharded else _limits(writer.folder, tokens, batches)
    deal = _Deal(np.array(left, np.int32), limits)
    files = (tokens.path, adapted.weights)
    work = shared(
        _help, job, deal, writer.another(), tokens.path,
        reporter=reporter, files=files, collective=adapted.sharded,
    )  # fmt: skip
    with work as (call, reports):
        _score_batches(job, deal, writer, tokens, _numbers(job, deal, call, reports), reports)


def _numbers(job: _Job, deal: _Deal, call: Call, reporter: Reporter) -> Iterator[int]:
    """The numbers of the batches that this process scores.

    A model that is divided over the processes is run by all of them, equally often: a number beyond the last
    batch means that this process only has to take part.
    """
    if not job.adapted.sharded:
        yield from call.deal(len(deal.left))
        return
    rounds = -(-len(deal.left) // team.size())
    for number in range(team.rank(), rounds * team.size(), team.size()):
        if not team.agree(not reporter.cancelled):
            reporter.advance(0)  # raises in the leader
            raise Stopped
        yield number


def _limits(folder: Path, tokens: TokenTable, batches: list[np.ndarray]) -> dict[int, int]:
    """Number of each batch that did not fit into memory → maximum tokens of a part from there on."""
    stored: dict[str, int] = {}
    for path in folder.glob(SHRUNK_FILES):
        stored |= read_checked(path)
    firsts = {str(tokens.row_ids[batch[0]]): number for number, batch in enumerate(batches)} if stored else {}
    return {firsts[first]: limit for first, limit in stored.items()}


def _help(call: Call, job: _Job, deal: _Deal, writer: PartWriter | LossPartWriter, path: Path) -> None:
    """Score the batches that fall to a helper."""
    reports = HelperReporter(call)
    numbers = _numbers(job, deal, call, reports)
    _score_batches(job, deal, writer, open_tokens(path), numbers, reports)


def _score_batches(
    job: _Job,
    deal: _Deal,
    writer: _Writes[Any],
    tokens: TokenTable,
    numbers: Iterable[int],
    reporter: Reporter,
) -> None:
    scorer, batches = job.scorer(), job.batches(tokens)
    path = writer.folder / (f"batches-r{team.rank():02d}.json" if team.rank() else SHRUNK_FILE)
    shrunk: dict[str, int] = read_checked(path) if path.exists() else {}
    keeps = True
    try:
        for number in numbers:
            batch = batches[deal.left[min(number, len(deal.left) - 1)]]
            scorer.most_tokens = before = deal.limit(number, scorer.most_tokens)
            start = time.perf_counter()
            scores = scorer.score([tokens[i] for i in batch])
            if number >= len(deal.left):
                continue
            if scorer.most_tokens is not None and scorer.most_tokens != before:
                shrunk[str(tokens.row_ids[batch[0]])] = scorer.most_tokens
                write_checked(path, shrunk)
            # The processes score at the same time, so the seconds of all samples are those of the stage.
            writer.add(tokens, batch, scores, (time.perf_counter() - start) / team.size())
            reporter.advance(len(batch))
    except team.Lost:
        keeps = team.rank() == 0  # without its leader, the run may have been resumed elsewhere
        raise
    finally:
        if keeps:
            writer.flush()
