import json

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from staff_engine.errors import ModelError
from staff_engine.models import loading, sources
from tests.helpers.tiny import make_model


@pytest.fixture
def folder(tmp_path):
    make_model().save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_loads_frozen_and_computes_the_same(folder):
    loaded = loading.load_model(str(folder), device="cpu", dtype="float32")
    ids = torch.tensor([[1, 5, 9]])
    assert torch.equal(loaded(input_ids=ids).logits, make_model()(input_ids=ids).logits)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_dtype_can_be_asked_for(folder):
    assert loading.load_model(str(folder), device="cpu", dtype="float64").dtype == torch.float64
    with pytest.raises(ModelError, match="dtype is 'int4'; allowed: float64, float32, bfloat16, float16"):
        loading.load_model(str(folder), device="cpu", dtype="int4")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("builtin:llama-giant", "unknown built-in model 'builtin:llama-giant'; available: "),
        ("./nowhere", "'./nowhere' does not exist"),
        ("/no/such/model", "'/no/such/model' does not exist"),
        ("some.gguf", "'some.gguf' does not exist"),
    ],
)
def test_a_model_that_is_not_there_is_named(name, says):
    with pytest.raises(ModelError, match=says):
        sources.find_model(name)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        loading.load_model(str(tmp_path))


def test_a_hub_name_without_a_hub_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ModelError, match="'staff-studio/none' is not on this machine, and the hub cannot"
    ) as caught:
        loading.load_model("staff-studio/none")
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_an_error_of_one_line(folder):
    (folder / "model.safetensors").write_bytes(b"\x10" * 400)
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        loading.load_model(str(folder))
    assert "\n" not in str(caught.value)


def test_missing_weights_are_not_filled_with_random_numbers(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(ModelError, match="incomplete: 9 tensors are missing"):
        loading.load_model(str(folder))


def test_pickled_weights_are_refused(folder):
    torch.save(make_model().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"are \.bin files, which can run code when they are read"):
        loading.load_model(str(folder))


def test_an_encoder_is_refused(tmp_path):
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20
    )
    BertForMaskedLM(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is an encoder"):
        loading.load_model(str(tmp_path))


def save_tokenizer(folder, **special):
    tokenizer = Tokenizer(WordLevel({"a": 0, "<end>": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def test_a_tokenizer_without_padding_pads_with_its_end(folder):
    save_tokenizer(folder, eos_token="<end>")
    assert loading.load_tokenizer(str(folder)).pad_token_id == 1


def test_a_tokenizer_without_an_end_is_refused(folder):
    save_tokenizer(folder)
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        loading.load_tokenizer(str(folder))


def test_a_model_says_how_much_it_can_read(folder):
    assert loading.context_length(str(folder)) == 128
