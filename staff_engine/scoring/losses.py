"""The loss of responses, with or without their prompts: a forward pass without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.tokens import EncodedSample
from staff_engine.models.forward import pad, valid_padding
from staff_engine.models.sharding import is_sharded
from staff_engine.scoring.fitting import in_fitting_batches
from staff_engine.scoring.head import Head
from staff_engine.scoring.lora import SquaredGradients, WatchedLora
from staff_engine.scoring.scorer import mean_by_row

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


def first_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token before a text that stands alone: the first token of every text, or else the end token.

    Models without a first token are trained on texts that follow each other after the end token.
    """
    first = tokenizer.bos_token_id
    return int(tokenizer.eos_token_id if first is None else first)


def response_alone(sample: EncodedSample, first: int) -> EncodedSample:
    """The response tokens of a sample, one after another, after the token `first`.

    They are the same tokens as in the sample, so both losses are means over the same targets.
    """
    response = np.asarray(sample.input_ids)[np.asarray(sample.response_mask, dtype=bool)]
    return EncodedSample([first, *response.tolist()], [False, *[True] * len(response)])


class LossScorer:
    """Computes losses of responses. Make it once, then `score` many batches.

    Parameters
    ----------
    model
        A PEFT model with every weight frozen.
    pad_token_id
        Any token id; it changes no score.
    first
        The token before each response, from `first_token`, to leave out the prompts. None: with prompts.

    Attributes
    ----------
    most_tokens
        As in `scorer.Scorer`.
    """

    def __init__(self, model: nn.Module, *, pad_token_id: int, first: int | None = None) -> None:
        self.model = model.eval()
        self.first, self.pad_token_id = first, valid_padding(model, pad_token_id)
        self.most_tokens: int | None = None
        self._in_step = is_sharded(model)
        self._lora = WatchedLora(model, ())
        self._head = Head(model)

    def score(self, samples: Sequence[EncodedSample]) -> np.ndarray:
        """Mean negative log-likelihood of each sample's response tokens, nats.

        Parameters
        ----------
        samples
            b whole samples; their prompts are left out here if there is a token `first`.

        Returns
        -------
        float64 (b,)

        Raises
        ------
        ModelError
            If not even a single sample fits into memory, or a batch of a divided model does not.
        """
        if self.first is not None:
            samples = [response_alone(sample, self.first) for sample in samples]
        parts, self.most_tokens = in_fitting_batches(
            self._score, samples, self.most_tokens, in_step=self._in_step
        )
        return np.concatenate(parts)

    def _score(self, samples: Sequence[EncodedSample]) -> np.ndarray:
        import torch

        batch = pad(samples, pad_token_id=self.pad_token_id, device=next(self.model.parameters()).device)
        counts = torch.bincount(batch.rows, minlength=len(samples))
        nothing = SquaredGradients(0, dtype=torch.float32, device=batch.ids.device)  # no layer is scored
        with torch.no_grad(), self._lora.recording(nothing):
            hidden = self._head.hidden_states(batch.ids)
            losses = self._head.losses(hidden[batch.rows, batch.positions], batch.targets)
        return mean_by_row(losses, batch.rows, counts)
