"""Make a fine-tuned adapter portable: its base model by name, and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from staff_engine.data.locating import is_local
from staff_engine.models import loading
from staff_engine.plan import Plan
from staff_engine.program import NAME
from staff_engine.system.files import write_json

CONFIG_FILE = "adapter_config.json"
CARD_FILE = "README.md"


def describe_adapter(folder: Path, plan: Plan, model: str, samples: int) -> None:
    """Replace the path of the base model by its name, and write a card.

    Parameters
    ----------
    folder
        What `save_adapter` wrote.
    model
        The base model, as in the plan: a hub name, `builtin:NAME` or a folder.
    samples
        Number of samples that the adapter was trained on.
    """
    path = folder / CONFIG_FILE
    config: dict[str, Any] = json.loads(path.read_bytes())
    repository, _, revision = model.partition("@") if _is_one_repository(model) else (model, "", "")
    config["base_model_name_or_path"] = repository
    if revision:
        config["revision"] = revision
    write_json(path, config)
    (folder / CARD_FILE).write_text(_card(plan, model, samples), encoding="utf-8")


def _is_one_repository(model: str) -> bool:
    """Whether a base model is a repository on the hub, without an adapter."""
    return not (Path(model).exists() or model.startswith("builtin:") or "+" in model)


def _card(plan: Plan, model: str, samples: int) -> str:
    import yaml

    on_hub = not Path(model).exists() and not model.startswith("builtin:")
    head: dict[str, Any] = {"base_model": model.partition("@")[0]} if on_hub else {}
    head |= {"library_name": "peft", "tags": ["lora", "staff-studio"]}
    data = Path(plan.dataset).name if is_local(plan.dataset) else plan.dataset
    rate = plan.learning_rate or loading.default_learning_rate(model)
    settings = {
        "epochs": plan.epochs,
        "batch size": plan.batch_size,
        "learning rate": f"{rate:g}",
        "LoRA rank": plan.lora_rank,
        "LoRA alpha": plan.lora_alpha,
        "maximum tokens": plan.max_length,
        "seed": plan.seed,
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
    loads = """
```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("PATH OF THIS FOLDER")
```
"""
    name = Path(model).name if Path(model).exists() else model
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# LoRA adapter of {name}

Fine-tuned with {NAME} on {samples:,} samples of `{data}`, with the loss on the responses.
{loads if on_hub else ""}
| setting | value |
|---|---|
{rows}
"""
