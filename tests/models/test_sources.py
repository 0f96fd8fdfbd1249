"""Where a model is, and what is said of things that are none."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BartConfig, BartForConditionalGeneration

from staff_engine.errors import ModelError
from staff_engine.models import loading, sources
from tests.helpers.tiny import make_model, save_model

IDS = torch.tensor([[1, 5, 9]])


@pytest.fixture
def folder(tmp_path):
    return save_model(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path, folder):
    """A PEFT adapter that changes what the model computes, and the logits of both together."""
    config = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=["q_proj", "up_proj"])
    adapted = get_peft_model(make_model(), config)
    adapted.peft_config["default"].base_model_name_or_path = folder
    generator = torch.Generator().manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    adapted.save_pretrained(tmp_path / "adapter")
    return str(tmp_path / "adapter"), adapted.eval()(input_ids=IDS).logits.detach()


def test_an_adapter_folder_is_its_base_with_the_adapter(folder, adapter):
    name, expected = adapter
    for given in (name, f"{folder}+{name}"):
        model = loading.load_model(given, device="cpu")
        torch.testing.assert_close(model(input_ids=IDS).logits, expected, rtol=1e-5, atol=1e-5)
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not hasattr(model, "peft_config")
    base = loading.load_model(folder, device="cpu")
    assert not torch.allclose(base(input_ids=IDS).logits, expected, atol=1e-3)
    assert loading.load_tokenizer(name).eos_token_id == 2


def test_an_adapter_without_a_base_is_an_error(adapter):
    name, _ = adapter
    path = sources.Path(name) / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": None}))
    with pytest.raises(ModelError, match=r"does not name its base model; give BASE\+"):
        sources.find_model(name)


def test_a_folder_that_is_no_adapter_is_an_error(folder, tmp_path):
    with pytest.raises(ModelError, match=r"has no adapter_config\.json"):
        sources.find_model(f"{folder}+{folder}")
    with pytest.raises(ModelError, match="adapter folder '/no/where' does not exist"):
        sources.find_model(f"{folder}+/no/where")


def test_a_revision_is_part_of_a_hub_name(monkeypatch):
    monkeypatch.setattr(sources, "in_hub_cache", lambda name, revision: name == "owner/model")
    source = sources.find_model("owner/model@abc123")
    assert (source.location, source.arguments) == (
        "owner/model", {"trust_remote_code": False, "revision": "abc123"}
    )  # fmt: skip
    assert "revision" not in sources.find_model("owner/model").arguments
    assert sources.find_model("owner/model@refs/pr/1").revision == "refs/pr/1"


def test_an_adapter_can_have_a_revision_too(folder):
    source = sources.find_model(f"{folder}+me/tuned@v2")
    assert (source.location, source.adapter, source.adapter_revision) == (folder, "me/tuned", "v2")
    assert source.revision is None


def test_a_second_adapter_is_refused_and_not_dropped(adapter):
    name, _ = adapter
    with pytest.raises(ModelError, match="itself; only one adapter can be added: merge that one") as caught:
        sources.find_model(f"{name}+{name}")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("builtin:llama-nano", "llama-nano"),
        ("owner/model@abc123", "model"),
        ("/models/one/", "one"),
        ("owner/model+me/tuned", "model+tuned"),
        ("owner/model@abc123+me/tuned@def456", "model+tuned"),
    ],
)
def test_a_short_name_is_what_people_call_it(name, short):
    assert sources.short_name(name) == short


def test_a_git_lfs_pointer_is_named(folder):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (sources.Path(folder) / "model.safetensors").write_bytes(pointer)
    with pytest.raises(
        ModelError, match=r"model\.safetensors of .* is a git-lfs pointer.*run `git lfs pull`"
    ):
        sources.find_model(folder)


def test_pickled_weights_come_with_the_command_that_converts_them(folder, monkeypatch, tmp_path):
    torch.save(make_model().state_dict(), sources.Path(folder) / "pytorch_model.bin")
    (sources.Path(folder) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"only \.safetensors and \.gguf are read") as caught:
        sources.find_model(folder)
    code = str(caught.value).partition('python -c "')[2].rstrip('"')
    exec(code)
    converted = loading.load_model(f"{folder}-safetensors", device="cpu")
    assert torch.equal(converted(input_ids=IDS).logits, make_model()(input_ids=IDS).logits)


def test_an_encoder_decoder_is_refused_before_its_weights_are_read(tmp_path):
    config = BartConfig(
        vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is an encoder-decoder \(bart\); a causal decoder is needed"):
        loading.read_config(str(tmp_path))


def test_a_model_of_another_kind_is_refused_by_its_type(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ModelError, match="is of type 'clip', which is not a causal decoder"):
        loading.read_config(str(tmp_path))


def test_a_missing_quantization_package_is_named(folder):
    path = sources.Path(folder) / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "quantization_config": {"quant_method": "aqlm"}}))
    with pytest.raises(ModelError, match="quantized by aqlm, which needs the package aqlm; install it"):
        loading.read_config(folder)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    make_model().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"has no tokenizer; copy tokenizer\.json"):
        loading.load_tokenizer(str(tmp_path))


def test_a_chat_template_can_be_given_as_a_file(folder, tmp_path):
    (tmp_path / "template.jinja").write_text("{{ messages[0].content }}!")
    tokenizer = loading.load_tokenizer(folder, str(tmp_path / "template.jinja"))
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi!"
    with pytest.raises(ModelError, match="chat template '/no/file' cannot be read"):
        loading.load_tokenizer(folder, "/no/file")


@pytest.mark.parametrize(
    ("names", "longest"),
    [({"max_position_embeddings": 64}, 64), ({"max_seq_len": 32}, 32), ({}, None)],
)
def test_the_longest_input_is_found_by_any_of_its_names(names, longest):
    class Config:
        def get_text_config(self):
            return self

    config = Config()
    vars(config).update(names)
    assert loading.longest_input(config) == longest
