"""What a recipe says of the training: the run's target and settings, for the samples of a coreset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from staff_engine.brought_scores import NO_MODEL
from staff_engine.data.locating import is_local
from staff_engine.errors import PlanError
from staff_engine.export.recipes.plain import PLAIN
from staff_engine.models import loading
from staff_engine.models.layers import LoraLayers, find_lora_layers
from staff_engine.models.sources import find_model
from staff_engine.scoring.precision import read_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from staff_engine.runs.results import Results


@dataclass(frozen=True)
class Training:
    """The fine-tuning of a run's target on its coreset."""

    model: str
    """A hub name, or the folder of a model on this machine."""
    on_this_machine: bool
    """Whether it is such a folder."""
    revision: str | None
    """Commit, branch or tag on the hub."""
    source: str
    """The name of the data set."""
    samples: int
    layers: tuple[str, ...] | None
    """Ends of the names of layers with LoRA; None: every linear layer but the head."""
    rank: int
    alpha: int
    epochs: int
    batch_size: int
    learning_rate: float
    max_length: int
    seed: int
    number_format: str
    """float32, bfloat16, float16 or float64."""
    bits: int | None
    """Bits of quantized weights; None if they are not quantized."""
    chat_template: str | None
    """A chat template; None: that of the tokenizer."""
    plain: bool
    """Whether `chat_template` is the plain template."""

    def notes(self, *others: str) -> list[str]:
        """Sentences of a tool about its training, and one about a model that other machines do not have."""
        here = "The model is a folder of the machine that wrote this file."
        return [*others, *([here] if self.on_this_machine else [])]


def training_of(results: Results, samples: int) -> Training:
    """The fine-tuning of a run's target on a number of its samples, with the run's settings.

    Reads the target's configuration and tokenizer, but no weights.

    Raises
    ------
    PlanError
        If the target is a .gguf file or has an adapter, which other tools do not load by one name.
    ModelError
        If the target cannot be found.
    """
    plan = results.plan
    if plan.target == NO_MODEL:
        raise PlanError(
            "a recipe trains the target of the run, and this run has none; start one with --target"
        )
    source = find_model(plan.target)
    if source.gguf_file or source.adapter:
        kind = "a .gguf file" if source.gguf_file else "a model with an adapter"
        raise PlanError(
            f"no recipe can name the target {plan.target!r}, which is {kind}; convert it to a model folder"
        )
    tokenizer = loading.load_tokenizer(plan.target, plan.chat_template)
    plain = not (results.imported.facts.conversation and tokenizer.chat_template)
    own = tokenizer.get_chat_template() if plan.chat_template and not plain else None
    return Training(
        model=source.location,
        on_this_machine=source.folder is not None,
        revision=source.revision,
        source=Path(plan.dataset).name if is_local(plan.dataset) else plan.dataset,
        samples=samples,
        layers=_layers(loading.empty_model(plan.target), plan.lora_names),
        rank=plan.lora_rank,
        alpha=plan.lora_alpha,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate or loading.default_learning_rate(plan.target),
        max_length=min(plan.max_length, loading.context_length(plan.target) or plan.max_length),
        seed=plan.seed,
        number_format=_number_format(results),
        bits={"none": None, "8bit": 8, "4bit": 4}[plan.quantize],
        chat_template=PLAIN if plain else own,
        plain=plain,
    )


def _number_format(results: Results) -> str:
    """The number format of a run; float32 if none was chosen yet."""
    if results.plan.dtype != "auto":
        return results.plan.dtype
    known = read_precision(results.folder)
    return known.dtype if known else "float32"


def _layers(model: PreTrainedModel, chosen: Sequence[str]) -> tuple[str, ...] | None:
    """The shortest names that other tools need to find the layers with LoRA."""
    found = find_lora_layers(model, chosen)
    if not chosen and not found.left_out:
        return None
    return short_names(found, [name for name, _ in model.named_modules()])


def short_names(found: LoraLayers, every: Sequence[str]) -> tuple[str, ...]:
    """The last parts of the names of layers if no other module has them; else the whole names.

    PEFT gives LoRA to every layer whose name ends with one of the names.
    """
    kinds = {name.rpartition(".")[2] for name in found.names}
    others = {name.rpartition(".")[2] for name in set(every) - set(found.names)}
    return found.names if kinds & others else tuple(sorted(kinds))
