"""Recipes: what they say of the training, that their tools read them, and where they are written."""

import ast
import dataclasses
import json
import runpy
import warnings

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from staff_engine.data.rows import selected_turns
from staff_engine.data.templates import plain_pieces
from staff_engine.data.tokenization import tokenize_sample
from staff_engine.errors import PlanError, StaffError
from staff_engine.export.coreset import export_coreset
from staff_engine.export.hub.folder import export_folder
from staff_engine.export.recipes import axolotl, llama_factory, trl
from staff_engine.export.recipes.plain import PLAIN
from staff_engine.export.recipes.registry import RECIPES, find_recipe
from staff_engine.export.recipes.training import Training, short_names
from staff_engine.models.layers import LoraLayers
from staff_engine.models.loading import load_tokenizer
from staff_engine.models.sources import find_model
from tests.helpers.made_export import make_run, write_rows
from tests.helpers.tiny import make_tokenizer

TARGET = "builtin:llama-nano"
TRAINING = Training(
    model="org/model", on_this_machine=False, revision=None, source="data.jsonl", samples=81, layers=None,
    rank=4, alpha=12, epochs=2, batch_size=8, learning_rate=3e-4, max_length=256, seed=7,
    number_format="float32", bits=None, chat_template=None, plain=False,
)  # fmt: skip

AXOLOTL_FIELDS = {
    "base_model", "revision_of_model", "load_in_4bit", "load_in_8bit", "adapter", "lora_r", "lora_alpha",
    "lora_dropout", "lora_target_modules", "lora_target_linear", "datasets", "train_on_inputs",
    "sequence_len",
    "sample_packing", "dataset_prepared_path", "output_dir", "num_epochs", "micro_batch_size",
    "gradient_accumulation_steps", "optimizer", "learning_rate", "lr_scheduler", "warmup_ratio",
    "weight_decay", "seed", "bf16", "fp16", "save_strategy",
}  # fmt: skip
"""Of AxolotlInputConfig (axolotl.utils.schemas.config) in axolotl 0.19.0."""

AXOLOTL_DATASET_FIELDS = {
    "path", "ds_type", "type", "field_messages", "message_field_training", "roles_to_train", "train_on_eos",
    "chat_template", "chat_template_jinja",
}  # fmt: skip
"""Of SFTDataset (axolotl.utils.schemas.datasets) in axolotl 0.19.0."""

LLAMA_FACTORY_FIELDS = {
    "model_name_or_path", "model_revision", "quantization_bit", "stage", "do_train", "finetuning_type",
    "lora_rank", "lora_alpha", "lora_dropout", "lora_target", "dataset_dir", "dataset", "cutoff_len",
    "train_on_prompt", "template", "default_system", "output_dir", "num_train_epochs",
    "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "lr_scheduler_type",
    "warmup_steps", "weight_decay", "seed", "bf16", "fp16", "save_strategy", "report_to",
}  # fmt: skip
"""Of the arguments that `get_train_args` of llamafactory 0.9.5 parses."""

QUANTIZED = dataclasses.replace(
    TRAINING, revision="0a1b", layers=("k_proj", "q_proj"), bits=4, number_format="bfloat16",
    chat_template="{{ 'a' }}\n{{ \"b\" }}", on_this_machine=True,
)  # fmt: skip

PAIRS = [{"prompt": f"What is {i} + {i}?", "completion": f"It is {2 * i}.\n\nYes."} for i in range(12)]


@pytest.fixture
def results(tmp_path):
    return make_run(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", PAIRS), target=TARGET, epochs=1)


def write(results, out, recipe, **how):
    selection = results.select(pruning_rate=0.5)
    given = {"format": RECIPES[recipe].format, "recipe": recipe, **how}
    return export_coreset(results, selection, results.settings(pruning_rate=0.5), out, **given)


@pytest.mark.parametrize("training", [TRAINING, QUANTIZED], ids=["plain", "quantized"])
def test_a_file_for_axolotl_has_only_fields_that_axolotl_knows(training):
    content = axolotl.settings(training, "coreset.jsonl", "adapter")
    assert content.keys() <= AXOLOTL_FIELDS
    (data,) = content["datasets"]
    assert data.keys() <= AXOLOTL_DATASET_FIELDS
    assert (content["adapter"], content["lora_r"], content["lora_alpha"]) == (
        "qlora" if training.bits else "lora", 4, 12
    )  # fmt: skip
    assert content["sequence_len"] == 256
    assert data["roles_to_train"] == ["assistant"]
    assert data.get("chat_template_jinja") == training.chat_template


@pytest.mark.parametrize("training", [TRAINING, QUANTIZED], ids=["plain", "quantized"])
def test_a_file_for_llama_factory_has_only_fields_that_llama_factory_knows(training):
    content = llama_factory.settings(training, "data/train.jsonl", "adapter")
    assert content.keys() <= LLAMA_FACTORY_FIELDS
    assert (content["dataset_dir"], content["dataset"]) == ("data", "train")
    assert content["lora_target"] == ("k_proj,q_proj" if training.layers else "all")
    assert content["warmup_steps"] == 3  # a tenth of 2 × 81 / 8 = 21 steps
    assert content.get("quantization_bit") == training.bits


def test_llama_factory_gets_a_template_only_where_the_run_used_the_plain_one():
    plain = dataclasses.replace(TRAINING, plain=True, chat_template=PLAIN)
    assert llama_factory.settings(plain, "c.jsonl", "a")["template"] == "alpaca"
    assert "template" not in llama_factory.settings(TRAINING, "c.jsonl", "a")


def arguments(script, name):
    """The keyword arguments of a call in a script, as source."""
    calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    call = next(each for each in calls if ast.unparse(each.func) == name)
    return {each.arg: ast.unparse(each.value) for each in call.keywords}


def test_a_script_for_trl_has_the_settings_of_the_run():
    script = trl.write(TRAINING, "coreset.jsonl", "coreset.trl.py", "adapter")
    of_config = arguments(script, "SFTConfig")
    assert (of_config["seed"], of_config["max_length"], of_config["num_train_epochs"]) == ("7", "256", "2")
    assert of_config["learning_rate"] == "0.0003"
    assert of_config["assistant_only_loss"] == "True"
    lora = arguments(script, "LoraConfig")
    assert (lora["r"], lora["lora_alpha"], lora["target_modules"]) == ("4", "12", "'all-linear'")
    assert "CHAT_TEMPLATE" not in script


def test_a_script_names_a_commit_quantized_weights_chosen_layers_and_a_template():
    script = trl.write(QUANTIZED, "coreset.jsonl", "coreset.trl.py", "adapter")
    assert arguments(script, "SFTConfig")["bf16"] == "True"
    assert "BitsAndBytesConfig(load_in_4bit=True)" in arguments(script, "SFTConfig")["model_init_kwargs"]
    assert arguments(script, "AutoTokenizer.from_pretrained") == {"revision": "REVISION"}
    assert ast.literal_eval(arguments(script, "LoraConfig")["target_modules"]) == ["k_proj", "q_proj"]
    constants = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    assert constants["CHAT_TEMPLATE"] == QUANTIZED.chat_template


@pytest.mark.parametrize("name", ['a"""\nimport os\n"""b', "it's\\", "ü\u2028x"])
def test_no_name_can_add_code_to_a_script_or_keys_to_a_file(name):
    training = dataclasses.replace(TRAINING, model=name, source=name)
    tree = ast.parse(trl.write(training, "c.jsonl", "c.py", "a"))
    imported = {ast.unparse(node) for node in tree.body if isinstance(node, ast.Import)}
    assert imported == set()
    for recipe in ("axolotl", "llama-factory"):
        content = yaml.safe_load(RECIPES[recipe].text(training, "c.jsonl", "c.yaml", "a"))
        assert name in (content.get("base_model"), content.get("model_name_or_path"))


def test_layers_are_named_shortly_only_where_no_other_module_has_the_name():
    every = ["h.0.q", "h.0.mlp.up", "h.0.mlp.act", "h.1.q"]
    assert short_names(LoraLayers(("h.0.q", "h.1.q"), 0.1, ""), every) == ("q",)
    assert short_names(LoraLayers(("h.0.q",), 0.1, ""), every) == ("h.0.q",)


TURNS = st.lists(
    st.builds(
        lambda role, content, trained: {"role": role, "content": content, "trained": trained},
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.text("ab \n#:", min_size=1, max_size=8),
        st.sampled_from([True, True, False]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=100, deadline=None)
@given(TURNS)
def test_the_plain_template_in_jinja_renders_what_the_run_trains_on(turns):
    tokenizer = make_tokenizer()
    messages = [
        {"role": turn["role"], "content": turn["content"]}
        | ({"weight": int(turn["trained"])} if turn["role"] == "assistant" else {})
        for turn in turns
    ]
    rendered = tokenizer.apply_chat_template(messages, chat_template=PLAIN, tokenize=False)
    pieces = plain_pieces(turns)
    expected = tokenizer.bos_token + "".join(
        text + (tokenizer.eos_token if response else "") for text, response in pieces
    )
    assert rendered.startswith(expected) if pieces else rendered


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_written_next_to_the_coreset_and_replaced_with_it(results, tmp_path, recipe):
    out = tmp_path / "mine.jsonl"
    manifest = write(results, out, recipe)
    name = RECIPES[recipe].file_name("mine")
    assert name in [file["name"] for file in manifest["files"]]
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert find_model(TARGET).location in text
    assert str(len(out.read_text(encoding="utf-8").splitlines())) in text.splitlines()[0]
    write(results, out, recipe)
    (tmp_path / name).write_text("mine")
    (tmp_path / "mine.jsonl.manifest.json").unlink()
    for file in (out, tmp_path / "mine.decisions.parquet"):
        file.unlink()
    with pytest.raises(StaffError, match=f"{name} exists and is not from an earlier export"):
        write(results, out, recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_in_a_folder_reads_the_data_there_and_is_no_data_itself(results, tmp_path, recipe):
    from datasets import load_dataset

    selection = results.select(pruning_rate=0.5)
    chosen = results.settings(pruning_rate=0.5)
    folder = tmp_path / "out"
    export_folder(results, selection, chosen, folder, format=RECIPES[recipe].format, recipe=recipe)
    text = (folder / RECIPES[recipe].file_name("train")).read_text(encoding="utf-8")
    assert "data/train.jsonl" in text or yaml.safe_load(text)["dataset_dir"] == "data"
    rows = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == len(selection.indices)


def test_a_recipe_that_reads_another_format_or_is_unknown_is_refused(results, tmp_path):
    with pytest.raises(PlanError, match="recipe 'trl' reads the format messages, not csv"):
        write(results, tmp_path / "c.csv", "trl", format="csv")
    with pytest.raises(PlanError, match="unknown recipe 'nemo'; allowed: trl, llama-factory, axolotl"):
        find_recipe("nemo", "jsonl")
    assert not (tmp_path / "c.csv").exists()


def test_a_target_without_one_name_is_refused(tmp_path):
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    data = write_rows(tmp_path / "rows.jsonl", PAIRS)
    results = make_run(tmp_path / "run", data, target=str(model))
    with pytest.raises(PlanError, match=r"model\.gguf', which is a \.gguf file; convert it"):
        write(results, tmp_path / "c.jsonl", "trl")


@pytest.mark.long
def test_the_script_for_trl_trains_on_the_tokens_and_the_loss_of_the_run(results, tmp_path, monkeypatch):
    library = pytest.importorskip("trl")
    out = tmp_path / "mine.jsonl"
    write(results, out, "trl")
    made = {}
    begin = library.SFTTrainer.train
    monkeypatch.setattr(
        library.SFTTrainer, "train", lambda self, *given: made.update(trainer=self) or begin(self, *given)
    )
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(tmp_path / "mine.trl.py"))
    adapter = tmp_path / "mine-adapter"
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (8, 16)
    assert (adapter / "adapter_model.safetensors").exists()
    trainer = made["trainer"]
    assert trainer.state.global_step == 1
    assert np.isfinite(trainer.state.log_history[-1]["train_loss"])
    tokenizer = load_tokenizer(TARGET)
    chosen = results.select(pruning_rate=0.5).indices
    expected = [
        tokenize_sample(turns, tokenizer, max_length=512, conversation=False)
        for _, turns in selected_turns(results.imported.folder, chosen)
    ]
    found = trainer.train_dataset
    assert [list(row) for row in found["input_ids"]] == [sample.input_ids for sample in expected]
    assert [list(row) for row in found["labels"]] == [
        [token if mask else -100 for token, mask in zip(sample.input_ids, sample.response_mask, strict=True)]
        for sample in expected
    ]
