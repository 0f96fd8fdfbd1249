"""The check of the models of a run, before any work: two samples through each, with the run's own scoring."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from staff_engine.data.tokens import EncodedSample, TokenTable, open_tokens
from staff_engine.errors import ModelError
from staff_engine.models import devices, layers, loading, sources
from staff_engine.models.sizes import check_fit
from staff_engine.pipelines.adapted import load_base, sharded, with_lora
from staff_engine.pipelines.helping import Reporter
from staff_engine.pipelines.steps import length_bound, tokenize_rows
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.scoring.check import check_positions, check_scoring
from staff_engine.system import team
from staff_engine.system.files import read_model, write_checked
from staff_engine.system.memory import give_back

log = logging.getLogger(__name__)

FILE = "check.json"
TOKENS = "tokens-check.arrow"

RESPONSE_TOKENS = 32
"""Maximum response tokens of a sample in the check."""

LIBRARIES = ("torch", "transformers", "peft")
"""What takes seconds to import, in this order."""


class Checked(BaseModel):
    """What the check found out about a model; frozen."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    lora_share: float
    """Fraction of the model's weights in layers with LoRA, 0 to 1."""
    left_out: str = ""
    """What has no LoRA besides the head, in words."""

    @property
    def sentence(self) -> str:
        """Where LoRA sits, for display."""
        without = f"; {self.left_out} have none" if self.left_out else ""
        name = sources.short_name(self.model)
        return f"{self.lora_share:.1%} of the weights of {name} are in layers with LoRA{without}."


class _File(BaseModel):
    """The content of check.json."""

    models: tuple[Checked, ...] = ()


def find_models(plan: Plan, names: Sequence[str], reporter: Reporter) -> None:
    """Check what shows without weights: each model, its configuration and its tokenizer, and the device.

    Importing the libraries that this takes is a stage of its own. Raises ModelError.
    """
    for name in names:
        sources.find_model(name)
    reporter.stage(stages.LIBRARIES, len(LIBRARIES))
    for library in LIBRARIES:
        import_module(library)
        reporter.advance()
    devices.choose_device(plan.device)
    for name in names:
        loading.read_config(name)
        loading.load_tokenizer(name, plan.chat_template)


def check_models(
    plan: Plan, names: Sequence[str], tokens: TokenTable, folder: Path, reporter: Reporter
) -> None:
    """Score two samples on every model, and compare with autograd, once for a run.

    Parameters
    ----------
    plan
        With its number format settled.
    names
        The models, the small ones first.
    tokens
        The samples of the run for the first model; short ones are chosen.
    folder
        The run's folder, with the imported data.

    Raises
    ------
    ModelError
        If a model cannot be used; the message gives the reason.
    """
    if (folder / FILE).exists():
        return
    reporter.stage(stages.CHECK, len(names))
    rows = tokens.row_ids[two_short(tokens.lengths)]
    longest = int(tokens.lengths.max())
    found = []
    for name in names:
        checked = _check(plan, name, rows, longest, folder)
        if checked is not None:
            found.append(checked)
            log.info(checked.sentence)
        reporter.advance()
    (folder / TOKENS).unlink()
    write_checked(folder / FILE, _File(models=tuple(found)).model_dump(mode="json"))


def two_short(lengths: np.ndarray) -> np.ndarray:
    """Indices of the shortest sample and of the shortest that is longer, or as long if none is."""
    order = np.argsort(lengths, kind="stable")
    longer = order[lengths[order] > lengths[order[0]]]
    return np.array([order[0], longer[0] if len(longer) else order[1]])


def beginning(sample: EncodedSample) -> EncodedSample:
    """A sample up to its first `RESPONSE_TOKENS` response tokens, so that the logits of a trial stay few."""
    ends = np.flatnonzero(sample.response_mask)[:RESPONSE_TOKENS]
    end = int(ends[-1]) + 1
    return EncodedSample(sample.input_ids[:end], sample.response_mask[:end])


def models_checked(folder: Path) -> tuple[Checked, ...]:
    """What the check of a run found; empty for an older run. Raises RunError if it cannot be read."""
    return read_model(folder / FILE, _File).models if (folder / FILE).exists() else ()


def refuse_too_large(plan: Plan, name: str) -> None:
    """Raise ModelError if the weights of a model cannot fit into the memory of the plan's device."""
    if name == plan.target and plan.device_map != "none":
        return  # transformers moves what does not fit on the GPUs to the processor or the disk
    check_fit(
        name,
        device=plan.device,
        dtype=plan.dtype,
        quantize=plan.quantize if name == plan.target else "none",
        processes=team.size() if sharded(plan, name) else 1,
    )


def _check(plan: Plan, name: str, rows: np.ndarray, longest: int, folder: Path) -> Checked | None:
    """What is found out about a model; None if it is divided over processes, so that one cannot run it."""
    tokenizer = loading.load_tokenizer(name)
    tokenize_rows(plan, name, folder, rows, folder / TOKENS)
    table = open_tokens(folder / TOKENS)
    bound = loading.context_length(name)
    if not len(table) or (table.cut and length_bound(plan, name) == bound):
        raise ModelError(
            f"model {name!r} reads at most {length_bound(plan, name)} tokens, and not even the shortest"
            " samples fit; choose another model or a greater max_length"
        )
    refuse_too_large(plan, name)
    if sharded(plan, name):
        log.info("%s is divided over the processes and is not checked against autograd", name)
        return None
    base = load_base(plan, name)
    lora = layers.find_lora_layers(base, plan.lora_names)
    model = with_lora(plan, base)
    check_scoring(
        model,
        [beginning(table[index]) for index in range(len(table))],
        name=name,
        which=plan.scored_parameters,
        pad_token_id=tokenizer.pad_token_id,
    )
    if bound is not None and min(longest, plan.max_length) >= bound:
        check_positions(model, bound, name)
    del model, base
    give_back()
    return Checked(model=name, lora_share=lora.share, left_out=lora.left_out)
