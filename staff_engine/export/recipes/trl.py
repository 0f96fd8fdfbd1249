"""TRL: a Python script that trains with SFTTrainer."""

from __future__ import annotations

from staff_engine.export.recipes.training import Training
from staff_engine.models.finetune import SCHEDULE, WARM_UP

SCRIPT = """\
# Fine-tune {model!r} on {samples:,} samples of {source!r}.
#
#     pip install "trl>=0.24" "transformers>=5" peft{packages}
#     python {name}
#
# The loss is on the responses only. The adapter is written to the folder {adapter} beside this file.
{notes}
from pathlib import Path

from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoTokenizer{imports}
from trl import SFTConfig, SFTTrainer

FOLDER = Path(__file__).resolve().parent
MODEL = {model!r}
{constants}
rows = load_dataset("json", data_files=str(FOLDER / {data!r}), split="train")
rows = rows.select_columns([name for name in ("messages", "tools") if name in rows.column_names])
tokenizer = AutoTokenizer.from_pretrained(MODEL{of_tokenizer})
if tokenizer.pad_token is None:
    tokenizer.pad_token = tokenizer.eos_token
{set_template}
trainer = SFTTrainer(
    model=MODEL,
    args=SFTConfig(
        output_dir=str(FOLDER / {adapter!r}),
        model_init_kwargs={{{of_model}}},
        assistant_only_loss=True,
        num_train_epochs={epochs},
        per_device_train_batch_size={batch_size},
        gradient_accumulation_steps=1,
        learning_rate={learning_rate!r},
        lr_scheduler_type={schedule!r},
        warmup_steps={warm_up},
        weight_decay=0.0,
        max_length={max_length},
        seed={seed},
        bf16={bf16},
        fp16={fp16},
        save_strategy="no",
        report_to="none",
    ),
    train_dataset=rows,
    processing_class=tokenizer,
    peft_config=LoraConfig(
        task_type="CAUSAL_LM",
        r={rank},
        lora_alpha={alpha},
        lora_dropout=0.0,
        target_modules={targets!r},
    ),
)
trainer.train()
trainer.save_model()
"""

PLAIN = "Prompts are in the plain template, as in the run."
MARKED = (
    "TRL finds responses by {% generation %} marks in the chat template, and adds them to those of common",
    "families. For another one, set tokenizer.chat_template to a template with marks.",
)
CUT = (
    "TRL cuts the end of samples that are too long, and leaves out those without a response then; the run",
    "cuts their prompts first.",
)


def write(training: Training, data: str, name: str, adapter: str) -> str:
    """The text of a script.

    Parameters
    ----------
    data, adapter
        The exported file, and the folder for the adapter, relative to the script.
    name
        The name of the script.
    """
    of_model = [f'"dtype": "{training.number_format}"']
    if training.revision:
        of_model.append('"revision": REVISION')
    if training.bits:
        of_model.append(f'"quantization_config": BitsAndBytesConfig(load_in_{training.bits}bit=True)')
    notes = training.notes(*([PLAIN] if training.plain else MARKED), *CUT)
    constants = [f"REVISION = {training.revision!r}"] if training.revision else []
    if training.chat_template:
        lines = training.chat_template.splitlines(keepends=True)
        constants += ["CHAT_TEMPLATE = (", *(f"    {line!r}" for line in lines), ")"]
    return SCRIPT.format(
        **vars(training),
        name=name,
        data=data,
        adapter=adapter,
        packages=" bitsandbytes" if training.bits else "",
        imports=", BitsAndBytesConfig" if training.bits else "",
        notes="".join(f"# {line}\n" for line in notes),
        constants="".join(f"{line}\n" for line in constants),
        of_tokenizer=", revision=REVISION" if training.revision else "",
        set_template="tokenizer.chat_template = CHAT_TEMPLATE\n" if training.chat_template else "",
        of_model=", ".join(of_model),
        schedule=SCHEDULE,
        warm_up=WARM_UP,
        bf16=training.number_format == "bfloat16",
        fp16=training.number_format == "float16",
        targets=list(training.layers) if training.layers else "all-linear",
    )
