import json

import pytest
import yaml

from staff_engine.pipelines.adapter_card import describe_adapter
from staff_engine.plan import Plan


@pytest.mark.parametrize("model", ["HuggingFaceTB/SmolLM2-135M", "builtin:llama-nano"])
def test_an_adapter_names_its_base_model_as_the_plan_does_and_has_a_card(tmp_path, model):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/home/me/models/x", "r": 8}')
    plan = Plan.make(dataset="/home/me/data.jsonl", small=model, target="t", epochs=2, learning_rate=0.001)
    describe_adapter(tmp_path, plan, model, 1200)
    config = json.loads((tmp_path / "adapter_config.json").read_bytes())
    assert config == {"base_model_name_or_path": model, "r": 8}
    _, head, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head).get("base_model") == (None if model.startswith("builtin") else model)
    assert "1,200 samples of `data.jsonl`" in text
    assert "/home/me" not in text
    assert "| learning rate | 0.001 |" in text and "| epochs | 2 |" in text


def test_a_base_at_a_commit_is_named_as_peft_does(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "", "revision": null, "r": 8}')
    plan = Plan.make(dataset="me/data@v1", small="me/small@abc", target="t", learning_rate=0.001)
    describe_adapter(tmp_path, plan, plan.small, 1200)
    config = json.loads((tmp_path / "adapter_config.json").read_bytes())
    assert config == {"base_model_name_or_path": "me/small", "revision": "abc", "r": 8}
    _, head, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["base_model"] == "me/small"
    assert "# LoRA adapter of me/small@abc" in text
