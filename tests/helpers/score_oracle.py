"""The slow oracle of a sample's scores, and the tolerances that the fast path is held to."""

import numpy as np
import torch

from staff_engine.models import adapters
from staff_engine.scoring.scorer import Scorer

FLOAT32_TOLERANCE = 1e-4
FLOAT64_TOLERANCE = 1e-8


def score(model, samples, which="all", pad_token_id=0):
    layers = adapters.scored_layers(model, which)
    return Scorer(model, layers, pad_token_id=pad_token_id).score(samples)


def oracle(model, samples, which="all"):
    """One sample at a time, logits at every position, autograd's own weight gradients, float64."""
    weights = [layer.weight for layer in adapters.scored_layers(model, which)]
    rows = []
    for sample in samples:
        for weight in weights:
            weight.requires_grad_(True)
        ids = torch.tensor([sample.input_ids])
        logits = model(input_ids=ids, use_cache=False).logits[0]
        losses, distances, entropies = [], [], []
        for place in range(1, len(sample.input_ids)):
            if sample.response_mask[place]:
                probabilities = torch.softmax(logits[place - 1], dim=-1)
                token = sample.input_ids[place]
                losses.append(-torch.log(probabilities[token]))
                onehot = torch.zeros_like(probabilities)
                onehot[token] = 1
                distances.append((probabilities - onehot).square().sum().sqrt())
                entropies.append(-(probabilities * probabilities.log()).sum())
        loss = torch.stack(losses).mean()
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        effort = sum(each.square().sum() for each in gradients if each is not None).sqrt()
        rows.append(
            [v.item() for v in (effort, loss, sum(distances) / len(losses), sum(entropies) / len(losses))]
        )
        model.requires_grad_(False)
    return np.array(rows)


def effort_oracle(model, samples, which="all"):
    """The effort alone, likewise one sample at a time with autograd's own weight gradients."""
    weights = [layer.weight.requires_grad_() for layer in adapters.scored_layers(model, which)]
    efforts = []
    for sample in samples:
        ids = torch.tensor(sample.input_ids)
        places = [place for place in range(1, len(ids)) if sample.response_mask[place]]
        logits = model(input_ids=ids[None], use_cache=False).logits[0, [place - 1 for place in places]]
        loss = torch.nn.functional.cross_entropy(logits, ids[places])
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        efforts.append(sum(each.square().sum() for each in gradients if each is not None).sqrt().item())
    model.requires_grad_(False)
    return np.array(efforts)


def table(scores):
    return np.column_stack([scores.effort, scores.loss, scores.el2n, scores.entropy])
