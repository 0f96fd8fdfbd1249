"""The check of both models before any work."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from staff_engine.data.tokens import EncodedSample
from staff_engine.errors import ModelError
from staff_engine.pipelines import checking
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines.similarity import run as similarity
from staff_engine.runs.results import open_results
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.files import write_json
from tests.helpers.tiny import make_tokenizer, save_model
from tests.helpers.tiny_run import Watch, make_run
from tests.helpers.zoo import make_bare


def refused(folder, sources, **changes):
    """The error of a run, and its stages."""
    watch = Watch()
    with pytest.raises(ModelError) as caught:
        pipeline.execute(make_run(folder, sources, **changes), watch)
    assert "\n" not in str(caught.value)
    return str(caught.value), watch.stages


def test_libraries_the_number_format_and_the_check_are_stages_before_the_work(tmp_path, sources):
    folder, watch = make_run(tmp_path / "run", sources), Watch()
    pipeline.execute(folder, watch)
    assert watch.stages[:6] == ["libraries", "import", "tokenize", "number format", "check", "fine-tune"]
    assert (watch.done["libraries"], watch.done["number format"], watch.done["check"]) == (3, 1, 2)
    checked = checking.models_checked(folder)
    assert [each.model for each in checked] == [sources["small"], sources["target"]]
    assert all(0.5 < each.lora_share < 1 and not each.left_out for each in checked)
    assert not (folder / checking.TOKENS).exists()
    assert not [warning for warning in open_results(folder).summary.warnings if "LoRA" in warning]
    expected = pipeline.stages_of(open_results(folder).plan)
    assert tuple(watch.stages) == expected


def test_a_run_is_checked_once(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    pipeline.execute(folder, Watch())
    again = Watch()
    pipeline.execute(folder, again)
    assert "check" not in again.stages and "number format" not in again.stages


def test_a_target_with_damaged_weights_is_refused_before_the_small_model_works(tmp_path, sources):
    target = save_model(tmp_path / "target", seed=1)
    weights = load_file(tmp_path / "target" / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(weights, tmp_path / "target" / "model.safetensors", metadata={"format": "pt"})
    message, stages = refused(tmp_path / "run", sources, target=target)
    assert "are not finite numbers, first in model.layers.2.mlp.up_proj" in message
    assert stages[-1] == "check"


def test_a_target_without_a_tokenizer_is_refused_before_the_data_are_read(tmp_path, sources):
    target = save_model(tmp_path / "target")
    for file in (tmp_path / "target").glob("*token*"):
        file.unlink()
    message, stages = refused(tmp_path / "run", sources, target=target)
    assert "has no tokenizer" in message and stages == ["libraries"]


@pytest.mark.parametrize(("role", "last"), [("small", "tokenize"), ("target", "check")])
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path, sources, role, last):
    model = save_model(tmp_path / "model", vocab_size=75)
    message, stages = refused(tmp_path / "run", sources, **{role: model})
    assert "gives token id" in message and "vocabulary has 75 entries" in message
    assert stages[-1] == last


def test_a_target_that_reads_too_few_tokens_is_refused(tmp_path, sources):
    target = save_model(tmp_path / "target", max_position_embeddings=4)
    message, stages = refused(tmp_path / "run", sources, target=target)
    assert "reads at most 4 tokens, and not even the shortest samples fit" in message
    assert stages[-1] == "check"


def test_a_choice_of_layers_that_a_model_does_not_have_is_refused(tmp_path, sources):
    message, stages = refused(tmp_path / "run", sources, dtype="float32", lora_targets="c_attn")
    assert "no layer that can have LoRA is called 'c_attn'; there are q_proj" in message
    assert stages[-1] == "check"


def test_the_candidates_of_a_similarity_run_are_checked_before_any_of_them_works(tmp_path, sources):
    good, bad = sources["small"], save_model(tmp_path / "bad", vocab_size=75)
    folder = make_run(tmp_path / "run", sources)
    record = json.loads((folder / "plan.json").read_text())
    compared = SimilarityPlan.make(smalls=(good,), targets=(bad,), sample=10)
    made = {"name": "family", "created": "2026-11-27T05:00:00Z", "versions": {}}
    write_json(folder / "plan.json", {**record, **made, "similarity": compared.model_dump(mode="json")})
    watch = Watch()
    with pytest.raises(ModelError, match="vocabulary has 75 entries"):
        similarity.execute(folder, watch)
    assert watch.stages[-1] == "check"


def test_the_summary_says_on_which_share_of_a_model_with_experts_lora_sits(tmp_path, sources):
    make_bare("qwen3_moe").save_pretrained(tmp_path / "moe")
    make_tokenizer().save_pretrained(tmp_path / "moe")
    folder = make_run(tmp_path / "run", sources, target=str(tmp_path / "moe"))
    pipeline.execute(folder, Watch())
    (sentence,) = [text for text in open_results(folder).summary.warnings if "LoRA" in text]
    assert sentence.endswith("are in layers with LoRA; the experts and their routers have none.")
    share = checking.models_checked(folder)[1].lora_share
    assert 0.05 < share < 0.5 and sentence.startswith(f"{share:.1%} of the weights of ")


TEMPLATE = (  # refuses a system turn, and two turns of one role
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% if loop.index0 and messages[loop.index0 - 1].role == m.role %}{{ raise_exception('twice') }}"
    "{% endif %}"
    "[{{ m.role[0] }}]{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
)


def test_samples_outside_the_chat_template_are_counted_in_the_summary(tmp_path, sources):
    rows = []
    for i in range(30):
        messages = [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a" * (1 + i % 7)}]
        if i % 10 == 0:
            messages.insert(0, {"role": "system", "content": "be kind"})
        if i % 15 == 1:
            messages.insert(0, messages[0])
        rows.append({"messages": messages})
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "template.jinja").write_text(TEMPLATE)
    folder = make_run(
        tmp_path / "run", sources, dataset=str(tmp_path / "chat.jsonl"), strata=2,
        chat_template=str(tmp_path / "template.jinja"),
    )  # fmt: skip
    pipeline.execute(folder, Watch())
    warnings = open_results(folder).summary.warnings
    assert "The chat template has no system turn: in 3 samples the system text is at the start" in warnings[0]
    assert warnings[1].startswith("2 of 30 samples do not fit the chat template and use the plain one.")


def test_no_more_than_the_first_response_tokens_are_scored_in_the_check():
    sample = EncodedSample(list(range(200)), [False] * 20 + [True] * 10 + [False] * 5 + [True] * 165)
    short = checking.beginning(sample)
    assert short.input_ids == sample.input_ids[: 20 + 10 + 5 + 22]
    assert sum(short.response_mask) == checking.RESPONSE_TOKENS
    assert checking.beginning(short).input_ids == short.input_ids


def test_the_two_samples_are_short_and_differ_in_length_if_any_do():
    assert checking.two_short(np.array([9, 4, 4, 30, 5])).tolist() == [1, 4]
    assert checking.two_short(np.array([4, 4, 4])).tolist() == [0, 1]
