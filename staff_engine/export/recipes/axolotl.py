"""Axolotl: a YAML file for `axolotl train`."""

from __future__ import annotations

from typing import Any

from staff_engine.export.recipes.training import Training
from staff_engine.models.finetune import SCHEDULE, WARM_UP


def settings(training: Training, data: str, adapter: str) -> dict[str, Any]:
    """The content of the file; `data` and `adapter` are relative to it."""
    content: dict[str, Any] = {"base_model": training.model}
    if training.revision:
        content["revision_of_model"] = training.revision
    if training.bits:
        content[f"load_in_{training.bits}bit"] = True
    content |= {
        "adapter": "qlora" if training.bits == 4 else "lora",
        "lora_r": training.rank,
        "lora_alpha": training.alpha,
        "lora_dropout": 0.0,
        **(
            {"lora_target_modules": list(training.layers)}
            if training.layers
            else {"lora_target_linear": True}
        ),
        "datasets": [
            {
                "path": data,
                "ds_type": "json",
                "type": "chat_template",
                "field_messages": "messages",
                "message_field_training": "weight",
                "roles_to_train": ["assistant"],
                "train_on_eos": "turn",
                **_template(training),
            }
        ],
        "train_on_inputs": False,
        "sequence_len": training.max_length,
        "sample_packing": False,
        "dataset_prepared_path": f"{adapter}-data",
        "output_dir": adapter,
        "num_epochs": training.epochs,
        "micro_batch_size": training.batch_size,
        "gradient_accumulation_steps": 1,
        "optimizer": "adamw_torch",
        "learning_rate": training.learning_rate,
        "lr_scheduler": SCHEDULE,
        "warmup_ratio": WARM_UP,
        "weight_decay": 0.0,
        "seed": training.seed,
        "bf16": training.number_format == "bfloat16",
        "fp16": training.number_format == "float16",
        "save_strategy": "no",
    }
    return content


def _template(training: Training) -> dict[str, str]:
    """The chat template: Axolotl uses that of the data set before any other."""
    if training.chat_template:
        return {"chat_template": "jinja", "chat_template_jinja": training.chat_template}
    return {"chat_template": "tokenizer_default"}


def note(training: Training) -> str:
    """What is different from the run, or the same."""
    template = "plain" if training.plain else "chat"
    return (
        f"Prompts are in the {template} template, as in the run. Axolotl leaves out samples that are too"
        " long; the run cuts their prompts first."
    )
