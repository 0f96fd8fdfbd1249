import numpy as np
import pytest
import torch

from staff_engine.data.tokens import EncodedSample
from staff_engine.errors import ModelError
from staff_engine.models import adapters
from staff_engine.scoring.scorer import Scorer, plan_batches
from tests.helpers.score_oracle import FLOAT32_TOLERANCE, FLOAT64_TOLERANCE, oracle, score, table
from tests.helpers.tiny import ARCHITECTURES, make_samples, make_scored_model

WHICH = ["all", "last_block"]


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_scores_like_one_sample_at_a_time_in_float64(architecture, which):
    model = make_scored_model(architecture, dtype=torch.float64)
    samples = make_samples()
    np.testing.assert_allclose(
        table(score(model, samples, which)), oracle(model, samples, which), rtol=FLOAT64_TOLERANCE
    )


@pytest.mark.parametrize("which", WHICH)
def test_float32_agrees_with_the_float64_oracle(which):
    samples = make_samples()
    exact = oracle(make_scored_model(dtype=torch.float64), samples, which)
    np.testing.assert_allclose(
        table(score(make_scored_model(), samples, which)), exact, rtol=FLOAT32_TOLERANCE
    )


def test_an_untrained_adapter_has_an_effort_too():
    model = make_scored_model(trained=False, dtype=torch.float64)
    samples = make_samples()
    scores = score(model, samples)
    assert (scores.effort > 0).all()
    np.testing.assert_allclose(scores.effort, oracle(model, samples)[:, 0], rtol=FLOAT64_TOLERANCE)


def test_the_last_block_is_a_part_of_all():
    model, samples = make_scored_model(), make_samples()
    assert (score(model, samples, "last_block").effort < score(model, samples, "all").effort).all()


@pytest.mark.parametrize("which", WHICH)
def test_batch_size_order_and_padding_do_not_change_a_score(which):
    model, samples = make_scored_model(dtype=torch.float64), make_samples()
    together = table(score(model, samples, which))
    alone = np.concatenate([table(score(model, [sample], which)) for sample in samples])
    reversed_order = table(score(model, samples[::-1], which))[::-1]
    other_padding = table(score(model, samples, which, pad_token_id=7))
    for other in (alone, reversed_order, other_padding):
        np.testing.assert_allclose(other, together, rtol=FLOAT64_TOLERANCE)


def test_every_response_of_a_conversation_counts():
    sample = EncodedSample([1, 5, 6, 7, 8, 9, 10, 11], [False, False, True, True, False, False, True, True])
    first_only = EncodedSample(sample.input_ids, [False, False, True, True, False, False, False, False])
    model = make_scored_model(dtype=torch.float64)
    scores = table(score(model, [sample, first_only]))
    np.testing.assert_allclose(scores, oracle(model, [sample, first_only]), rtol=FLOAT64_TOLERANCE)
    assert abs(scores[0, 1] - scores[1, 1]) > 1e-6


def test_the_embedding_is_the_mean_of_the_last_hidden_state_over_the_tokens():
    model, samples = make_scored_model(dtype=torch.float64), make_samples()
    embedding = score(model, samples).embedding
    assert embedding.dtype == np.float16
    backbone = model.get_base_model().model
    for sample, vector in zip(samples, embedding, strict=True):
        hidden = backbone(input_ids=torch.tensor([sample.input_ids])).last_hidden_state[0]
        np.testing.assert_allclose(vector, hidden.mean(0).detach().numpy(), atol=2e-3)


def test_scoring_leaves_no_gradient_and_no_hook_behind():
    model = make_scored_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    score(model, make_samples())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_below_the_last_block_no_graph_is_built():
    model = make_scored_model()
    needs_grad = []
    first = model.get_base_model().model.layers[0]

    def note(layer, inputs, output):
        if output.shape[1] > 1:  # a single token is the trial of the head
            needs_grad.append(output.requires_grad)

    first.register_forward_hook(note)
    score(model, make_samples(), "last_block")
    score(model, make_samples(), "all")
    assert needs_grad == [False, True]


def test_a_weight_that_is_not_a_number_makes_scores_that_are_not_finite():
    model = make_scored_model()
    model.get_base_model().model.layers[1].mlp.up_proj.base_layer.weight.data[0, 0] = float("nan")
    assert not score(model, make_samples()).finite.any()


def test_half_precision_ranks_as_single_precision():
    samples = make_samples(tuple(range(4, 44)))
    single = score(make_scored_model(), samples).effort
    half = score(make_scored_model(dtype=torch.bfloat16), samples).effort
    assert not np.array_equal(single, half)
    assert np.corrcoef(np.argsort(np.argsort(single)), np.argsort(np.argsort(half)))[0, 1] > 0.98


class TestMemory:
    """A batch of more tokens than there is room for fails as it does on a GPU, or on a processor."""

    on_gpu = torch.OutOfMemoryError("CUDA out of memory.")
    on_processor = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 1649267441664 bytes. Error code 12 (Cannot allocate memory)"
    )

    def scorer(self, monkeypatch, room, error=on_gpu):
        model = make_scored_model(dtype=torch.float64)
        scorer = Scorer(model, adapters.scored_layers(model, "all"), pad_token_id=0)
        hidden_states, seen = scorer._head.hidden_states, []

        def in_little_room(ids):
            seen.append(tuple(ids.shape))
            if ids.numel() > room:
                raise error
            return hidden_states(ids)

        monkeypatch.setattr(scorer._head, "hidden_states", in_little_room)
        return scorer, seen

    @pytest.mark.parametrize("error", [on_gpu, on_processor, MemoryError()])
    def test_a_batch_that_does_not_fit_is_halved_until_it_does(self, monkeypatch, error):
        samples = make_samples((10, 10, 9, 9, 8, 8, 7))
        scorer, seen = self.scorer(monkeypatch, 25, error)
        scores = scorer.score(samples)
        assert seen == [(7, 10), (3, 10), (1, 10), (1, 10), (1, 9), (1, 9), (1, 8), (1, 8), (1, 7)]
        expected = score(make_scored_model(dtype=torch.float64), samples)
        np.testing.assert_allclose(table(scores), table(expected), rtol=FLOAT64_TOLERANCE)
        np.testing.assert_array_equal(scores.embedding, expected.embedding)
        assert [each.tolist() for each in scores.token_losses] == [e.tolist() for e in expected.token_losses]

    def test_the_rest_of_a_run_goes_on_with_the_smaller_size_and_says_so_once(self, monkeypatch, caplog):
        scorer, seen = self.scorer(monkeypatch, 40)
        scorer.score(make_samples((10,) * 8))
        seen.clear()
        scorer.score(make_samples((8,) * 8))
        assert seen == [(5, 8), (3, 8)]
        assert [record.getMessage() for record in caplog.records] == [
            "A batch of 8 samples did not fit into memory. The following batches have at most 40 tokens."
        ]

    def test_a_single_sample_that_does_not_fit_says_what_to_do(self, monkeypatch):
        scorer, _ = self.scorer(monkeypatch, 25)
        with pytest.raises(
            ModelError, match=r"a single sample of 30 tokens does not fit .* lower max_length"
        ):
            scorer.score(make_samples((30, 8)))

    def test_any_other_error_is_raised_as_it_is(self, monkeypatch):
        scorer, seen = self.scorer(monkeypatch, 0, RuntimeError("a bug"))
        with pytest.raises(RuntimeError, match="a bug"):
            scorer.score(make_samples())
        assert len(seen) == 1


class TestBatches:
    lengths = np.array([3, 9, 4, 9, 1, 20, 5])

    def test_every_sample_is_in_exactly_one_batch_and_like_lengths_stand_together(self):
        batches = plan_batches(self.lengths, tokens=18)
        assert [batch.tolist() for batch in batches] == [[5], [1, 3], [6, 2, 0], [4]]

    def test_no_batch_of_several_samples_holds_more_tokens_than_allowed(self):
        rng = np.random.default_rng(0)
        lengths = rng.integers(1, 60, 300)
        batches = plan_batches(lengths, tokens=100)
        assert sorted(np.concatenate(batches)) == list(range(300))
        assert all(len(batch) == 1 or lengths[batch].max() * len(batch) <= 100 for batch in batches)

    def test_no_samples_make_no_batch(self):
        nothing = np.zeros(0, dtype=int)
        assert plan_batches(nothing, tokens=10) == []


def test_token_losses_of_a_sample_average_to_its_loss():
    samples = make_samples()
    scores = score(make_scored_model(), samples)
    assert [len(losses) for losses in scores.token_losses] == [
        sum(sample.response_mask[1:]) for sample in samples
    ]
    np.testing.assert_allclose(
        [losses.mean(dtype=float) for losses in scores.token_losses], scores.loss, rtol=1e-3
    )
