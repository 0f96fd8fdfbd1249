"""The head at response positions: in closed form, by autograd, in chunks, against autograd over all of it."""

import numpy as np
import pytest
import torch

from staff_engine.errors import ModelError
from staff_engine.scoring import head as heads
from staff_engine.scoring.head import Head
from tests.helpers.tiny import VOCABULARY, make_model

POSITIONS = 21


def make_head(architecture="llama", *, dtype=torch.float64, **changes):
    """A head whose backbone has worked, hidden states before 21 tokens, and the tokens."""
    head = Head(make_model(architecture, dtype=dtype, **changes))
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (1, POSITIONS + 1), generator=generator)
    return head, head.hidden_states(ids)[0, :-1], ids[0, 1:]


def oracle(head, hidden, targets):
    """All logits at once, from the model's own forward pass, and autograd through all of it."""
    leaf = hidden.clone().requires_grad_()
    logits = head._logits(leaf[None])[0]
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    losses.sum().backward()
    probabilities = torch.softmax(logits, dim=-1)
    onehot = torch.nn.functional.one_hot(targets, logits.shape[1])
    entropy = -(probabilities * probabilities.log()).sum(-1)
    return losses.detach(), (probabilities - onehot).norm(dim=-1).detach(), entropy.detach(), leaf.grad


def assert_alike(found, expected, rtol=1e-9):
    for one, other in zip((found.loss, found.el2n, found.entropy, found.gradient), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("gpt_neox", {}),
        ("phi", {"hidden_size": 32}),  # its head has a bias
        ("gemma3_text", {}),  # soft-caps its logits
        ("cohere", {"logit_scale": 0.25}),
        ("granite", {"logits_scaling": 8.0}),
    ],
)
def test_a_head_predicts_as_autograd_over_all_logits_does(architecture, changes):
    head, hidden, targets = make_head(architecture, **changes)
    assert_alike(head.predict(hidden, targets), oracle(head, hidden, targets))


@pytest.mark.parametrize(("architecture", "changes"), [("llama", {}), ("gemma3_text", {})])
def test_the_losses_alone_are_those_of_a_prediction(architecture, changes, monkeypatch):
    head, hidden, targets = make_head(architecture, **changes)
    expected = head.predict(hidden, targets).loss
    np.testing.assert_allclose(head.losses(hidden, targets), expected, rtol=1e-12)
    monkeypatch.setattr(heads, "LOGITS_AT_ONCE", 5 * VOCABULARY)
    monkeypatch.setattr(heads, "FEWEST_AT_ONCE", 1)
    np.testing.assert_allclose(head.losses(hidden, targets), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("architecture", "changes", "closed"),
    [
        ("llama", {}, True),
        ("phi", {"hidden_size": 32}, True),
        ("gemma3_text", {"final_logit_softcapping": 50.0}, False),
        ("gemma3_text", {"final_logit_softcapping": None}, True),
        ("granite", {"logits_scaling": 8.0}, False),
    ],
)
def test_the_closed_form_serves_only_models_that_do_nothing_after_their_head(architecture, changes, closed):
    head, hidden, _ = make_head(architecture, **changes)
    assert head._is_linear(hidden[:1]) is closed


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_never_more_logits_than_allowed_are_held_and_that_changes_nothing(architecture, monkeypatch):
    head, hidden, targets = make_head(architecture)
    whole = head.predict(hidden, targets)
    monkeypatch.setattr(heads, "LOGITS_AT_ONCE", 5 * VOCABULARY)
    monkeypatch.setattr(heads, "FEWEST_AT_ONCE", 1)
    seen = []
    score = head._score
    monkeypatch.setattr(
        head, "_score", lambda logits, targets: seen.append(logits.shape) or score(logits, targets)
    )
    in_chunks = head.predict(hidden, targets)
    assert seen == [(5, VOCABULARY)] * 4 + [(1, VOCABULARY)]
    assert_alike(in_chunks, (whole.loss, whole.el2n, whole.entropy, whole.gradient))


def test_a_certain_prediction_keeps_its_small_distance():
    head, hidden, _ = make_head(dtype=torch.float32)
    certain = hidden * 1000 / head.linear(hidden).abs().max()
    targets = head.linear(certain).argmax(-1)
    exact_head, _, _ = make_head(dtype=torch.float64)
    exact = exact_head.predict(certain.double(), targets).el2n
    np.testing.assert_allclose(head.predict(certain, targets).el2n, exact, rtol=1e-3, atol=1e-7)


def test_the_modules_below_are_themselves_again_afterwards():
    head, hidden, targets = make_head("gemma3_text")
    expected = head.hidden_states(torch.tensor([[3, 4, 5]]))
    head.predict(hidden, targets)
    assert not any("forward" in vars(module) for module in head.model.modules())
    assert torch.equal(head.hidden_states(torch.tensor([[3, 4, 5]])), expected)


def test_nothing_below_the_head_is_computed_again_for_a_prediction():
    head, hidden, targets = make_head("gemma3_text")
    head.predict(hidden, targets)
    calls = []
    head.model.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    head.predict(hidden, targets)
    assert not calls
    head.hidden_states(torch.tensor([[3, 4, 5]]))
    assert calls


def test_a_model_without_an_output_layer_is_refused():
    with pytest.raises(ModelError, match="LlamaModel has no output layer"):
        Head(make_model().model)


def test_a_model_that_calls_its_output_layer_twice_is_refused():
    head, _, _ = make_head()

    def call_it_first(model, inputs):
        model.lm_head(torch.zeros(1, 2, 24, dtype=torch.float64))

    head.model.register_forward_pre_hook(call_it_first)
    with pytest.raises(ModelError, match=r"\(1, 3\) it received \(1, 2, 24\), \(1, 3, 24\)"):
        head.hidden_states(torch.tensor([[3, 4, 5]]))
