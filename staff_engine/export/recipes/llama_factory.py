"""LLaMA-Factory: a YAML file for `llamafactory-cli train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from staff_engine.export.llama_factory import dataset_name
from staff_engine.export.recipes.training import Training
from staff_engine.models.finetune import SCHEDULE, WARM_UP, count_steps

TEMPLATE = "alpaca"
"""The template of LLaMA-Factory that is most like the plain one, which it does not have."""


def settings(training: Training, data: str, adapter: str) -> dict[str, Any]:
    """The content of the file; `data` and `adapter` are relative to it."""
    path = Path(data)
    steps = count_steps(training.samples, epochs=training.epochs, batch_size=training.batch_size)
    content: dict[str, Any] = {"model_name_or_path": training.model}
    if training.revision:
        content["model_revision"] = training.revision
    if training.bits:
        content["quantization_bit"] = training.bits
    content |= {
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": training.rank,
        "lora_alpha": training.alpha,
        "lora_dropout": 0.0,
        "lora_target": ",".join(training.layers or ("all",)),
        "dataset_dir": path.parent.as_posix(),
        "dataset": dataset_name(path),
        "cutoff_len": training.max_length,
        "train_on_prompt": False,
        "output_dir": adapter,
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": 1,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": SCHEDULE,
        "warmup_steps": -(-steps // round(1 / WARM_UP)),
        "weight_decay": 0.0,
        "seed": training.seed,
        "bf16": training.number_format == "bfloat16",
        "fp16": training.number_format == "float16",
        "save_strategy": "no",
        "report_to": "none",
    }
    if training.plain:
        content |= {"template": TEMPLATE, "default_system": ""}
    return content


def note(training: Training) -> str:
    """What is different from the run."""
    if training.plain:
        return (
            f"LLaMA-Factory does not have the plain template of the run. The template {TEMPLATE} is used: it"
            " calls a prompt Instruction."
        )
    if training.chat_template:
        return "LLaMA-Factory reads no file with a chat template. The one of the model is used."
    return "The chat template is read from the tokenizer of the model."
