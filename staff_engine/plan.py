"""The plan: every setting of a run, with its default, bounds and help text."""

from __future__ import annotations

import re
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from staff_engine.brought_scores import (
    NO_MODEL,
    OwnScore,
    check_scores_or_small_model,
    is_own_name,
    without_models,
)
from staff_engine.errors import shortened
from staff_engine.presets import with_preset
from staff_engine.settings import Share, made, usable_path, usable_text

SELECTION_FIELDS = (
    "pruning_rate", "score", "strata", "strata_by", "ratio", "allocation", "within", "drop_hardest",
    "drop_by", "drop_evenly", "near_duplicates", "seed",
)  # fmt: skip
"""The settings that determine the coreset for given scores. Changing them runs no model."""

VERIFY_FIELDS = (
    "pruning_rate", "score", "strata", "strata_by", "ratio", "allocation", "verify_per_stratum", "adaptive",
    "drop_hardest", "drop_by", "drop_evenly", "near_duplicates", "seed",
)  # fmt: skip
"""The settings that determine which samples the target verifies."""


SEEDS = 2**32
"""Number of seeds: torch and NumPy take 0 to 2**32 - 1."""

MOST_STRATA = 10_000

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


class Plan(BaseModel):
    """Every setting of a run; frozen. `Plan.field(name).description` is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(
        min_length=1,
        description="A file (.jsonl .json .csv .tsv .parquet .arrow, also .gz .zst .bz2 .xz), a folder or a"
        " pattern of such files, a hub name, or built-in data: builtin:docstrings, builtin:kazakh,"
        " builtin:chat. Options after the name add faults on purpose:"
        " builtin:kazakh?swapped=0.25&duplicates=0.05.",
    )
    format: str | None = Field(
        None,
        description="The record format: preference, messages, sharegpt, prompt-completion, alpaca, dolly,"
        " query-response, question-answer or columns. Detected by default.",
    )
    prompt_column: str | None = Field(None, description="The column of the prompt.")
    response_column: str | None = Field(None, description="The column of the response.")
    prompt_template: str | None = Field(
        None,
        description="The prompt as a text with column names in braces, instead of a prompt column:"
        ' "Summarize this dialogue.\\n\\n{dialogue}". \\n is a line break.',
    )
    conversation_column: str | None = Field(
        None, description="The column with a list of messages, if it has another name than messages."
    )
    roles: str | None = Field(
        None,
        description="Names of roles in conversations, in addition to the known ones:"
        " customer=user,agent=assistant.",
    )
    reasoning: Literal["include", "exclude"] = Field(
        "include",
        description="Whether the reasoning of a message (reasoning_content) is part of the response.",
    )
    bad_labels: Literal["keep", "exclude"] = Field(
        "keep",
        description="Whether rows whose label is false, which marks a bad response in KTO data, are used.",
    )
    encoding: str | None = Field(
        None, description="Encoding of a text file, for example gb18030 or cp1252. Default: detected, UTF-8."
    )
    delimiter: str | None = Field(
        None, description="The character between the cells of a CSV file, or tab. Detected by default."
    )
    duplicates: Literal["keep", "exact", "near"] = Field(
        "keep",
        description="Which repeated rows to leave out: none, exact duplicates, or also near duplicates (80 %"
        " of their sequences of three words are the same). The first of them stays.",
    )
    apart_from: str | None = Field(
        None,
        description="A file of held-out samples. Rows that overlap with one of them are left out.",
    )
    split: str = Field(
        "train",
        description="Split of a hub data set. For built-in data: train (nine tenths of it) or held_out.",
    )
    limit: int | None = Field(
        None, ge=2, le=1_000_000_000, description="Read only the first N rows. Leave empty to read all."
    )

    small: str = Field(
        min_length=1,
        description="The small model, which scores all samples: hub name, folder, .gguf file or"
        " builtin:NAME.",
    )
    target: str = Field(
        min_length=1,
        description="The target model, which scores the verified samples: hub name, folder, .gguf file or"
        " builtin:NAME.",
    )
    scores: str | None = Field(
        None,
        min_length=1,
        description="A Parquet, CSV or TSV file of scores that other tools computed, in place of a small"
        " model. Each column of numbers is a score, own:COLUMN; higher is harder. The target is optional.",
    )
    score_key: str = Field(
        "row_id",
        min_length=1,
        description="The column of the file of scores that names the row: row_id (its index in the data, from"
        " 0), or a field that the rows of the data have too.",
    )
    chat_template: str | None = Field(
        None,
        min_length=1,
        description="A file with a chat template (Jinja) for both models. Default: that of each model.",
    )
    device: str = Field(
        "auto", description="cpu, cuda, cuda:N, mps or auto: the first available of CUDA, MPS and CPU."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = Field(
        "auto",
        description="Number format of the weights. auto: bfloat16 if a test on a few samples shows that it is"
        " faster and ranks samples the same, else float32.",
    )

    quantize: Literal["none", "8bit", "4bit"] = Field(
        "none",
        description="Load the target's weights in 8 or 4 bits, with bitsandbytes. Needs a CUDA GPU.",
    )
    device_map: Literal["none", "auto", "balanced", "sequential"] = Field(
        "none", description="Spread the target's layers over all GPUs of this machine, as in transformers."
    )
    processes: int = Field(
        1,
        ge=1,
        le=1_024,
        description="Processes that do the run together, each on a GPU of its own. Each fine-tuning step is"
        " divided into as many parts; the result is the same with fewer processes.",
    )
    shard_target: bool = Field(
        False,
        description="Divide the target's weights over the processes (FSDP), for a target that is too large"
        " for one GPU.",
    )
    attn_implementation: str | None = Field(
        None,
        description="Attention in transformers: eager, sdpa or flash_attention_2. Default: its own choice.",
    )

    max_length: int = Field(
        1024,
        ge=8,
        le=1_000_000,
        description="Maximum tokens per sample. Longer samples are truncated, prompt first.",
    )
    epochs: int = Field(
        3,
        ge=1,
        le=100,
        description="Epochs of fine-tuning: the small model on the data, and the target on its tuning"
        " samples.",
    )
    batch_size: int = Field(8, ge=1, le=65_536, description="Samples per fine-tuning step.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Peak learning rate. Default: 1e-4, or the value on the card of a built-in model.",
    )
    lora_rank: int = Field(8, ge=1, le=512, description="Rank of the LoRA matrices.")
    lora_alpha: int = Field(
        16,
        ge=1,
        le=65_536,
        description="LoRA scale. The product of the LoRA matrices is multiplied by alpha / rank.",
    )
    lora_targets: str | None = Field(
        None,
        description="Layers that get LoRA, separated by commas, for example q_proj,v_proj. A name after -"
        " excludes layers, for example -mlp. Default: every linear layer that can have LoRA but the head.",
    )
    tune_target: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Number of samples on which the target is fine-tuned before it verifies others. 0: the"
        " target is not fine-tuned, as in the paper.",
    )

    checkpoints: int = Field(
        0,
        ge=0,
        le=1_000,
        description="Number of checkpoints of the small model's fine-tuning at which the loss of every sample"
        " is measured, one forward pass each. The method S2L needs them. 0: none.",
    )
    scored_parameters: Literal["all", "last_block"] = Field(
        "all",
        description="Parameters whose gradient norm is the effort: every lora_B, or only those of the last"
        " decoder block (faster).",
    )
    tokens_per_batch: int = Field(
        1024, ge=64, le=10_000_000, description="Maximum tokens in one scoring batch, including padding."
    )

    ifd: bool = Field(
        False,
        description="Also score each response without its prompt, by one more forward pass of both models."
        " The score ifd needs this; choosing that score turns it on.",
    )

    pruning_rate: Share = Field(0.9, description="Fraction of the scorable samples to remove.")
    score: Literal["effort", "length-adjusted", "loss", "ifd"] | OwnScore = Field(
        "effort",
        description="The score that ranks the samples: effort (the paper), effort times the square root of"
        " the number of response tokens, loss, IFD (perplexity of the response with its prompt, divided by"
        " that without it), or own:NAME, a score that you add to the run.",
    )
    strata: int = Field(50, ge=1, le=MOST_STRATA, description="K, the number of score regions (strata).")
    strata_by: Literal["width", "log", "quantile"] = Field(
        "width",
        description="How the score is divided into strata: equal width of the score (the paper), equal width"
        " of the log score, or an equal number of samples.",
    )
    verify_per_stratum: int = Field(
        10,
        ge=0,
        le=10_000_000,
        description="b_v, the number of samples that the target scores in each stratum.",
    )
    adaptive: bool = Field(
        False,
        description="Verify in rounds, where the sizes of the strata in the coreset are the least certain,"
        " with at most as many samples in total. It stops when a round changes less than 1 % of the coreset."
        " The paper verifies the same number of samples in each stratum, which its allocation needs.",
    )
    drop_hardest: Share = Field(
        0.1,
        description="Fraction of the samples, those with the highest speculative scores, to leave out before"
        " stratifying.",
    )
    drop_by: Literal["score", "effort", "length-adjusted", "loss", "ifd"] | OwnScore = Field(
        "score",
        description="The score of the hardest samples that are left out: the one that ranks the samples"
        " (score), or another one.",
    )
    drop_evenly: bool = Field(
        False,
        description="Leave out the same fraction of the hardest at every response length: each sample is"
        " ranked among those of similar length.",
    )
    near_duplicates: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Keep only the first of samples that have at least this fraction of their token triples"
        " in common, for example 0.8. 0: keep all near duplicates, as in the paper.",
    )
    ratio: Literal["paper", "calibrated", "released", "equal"] = Field(
        "paper",
        description="How the ratio of a stratum is computed: target score over small score (the paper);"
        " target score over the score predicted from the small model's, shrunk towards 1; the quotient of"
        " scores scaled to 0 to 1 (the released code); or equal: every ratio is 1 and no sample is verified.",
    )
    allocation: Literal["paper", "normalized", "proportional"] = Field(
        "paper",
        description="How ratios determine the number of samples per stratum: as in the paper, as in the"
        " released code, or in proportion to size times ratio.",
    )
    within: Literal["random", "hardest", "diverse"] = Field(
        "random",
        description="Which samples of a stratum to keep: random ones (the paper), those with the highest"
        " scores, or those whose embeddings represent the others best.",
    )
    seed: int = Field(0, ge=0, lt=SEEDS, description="Seed for fine-tuning and for every random draw.")

    @field_validator("dataset", "small", "target")
    @classmethod
    def _can_be_a_path(cls, value: str, info: ValidationInfo) -> str:
        return usable_path(value, info)

    @field_validator("chat_template", "scores")
    @classmethod
    def _can_be_a_file(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else usable_path(value, info)

    @field_validator(
        "format", "prompt_column", "response_column", "conversation_column", "roles", "encoding", "delimiter",
        "apart_from", "split", "attn_implementation", "lora_targets",
    )  # fmt: skip
    @classmethod
    def _can_be_written(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else usable_text(value, info)

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, value: str) -> str:
        if not DEVICE.fullmatch(value):
            raise ValueError(f"device is {shortened(value)}; allowed: auto, cpu, mps, cuda, cuda:N")
        return value

    @property
    def lora_names(self) -> tuple[str, ...]:
        """The names in `lora_targets`."""
        return tuple(name.strip() for name in (self.lora_targets or "").split(",") if name.strip())

    @field_validator("score", "drop_by", mode="before")
    @classmethod
    def _is_a_score(cls, value: object, info: ValidationInfo) -> object:
        """Name the allowed scores in one sentence, instead of one for each part of the type."""
        known, _ = get_args(cls.model_fields[str(info.field_name)].annotation)
        if value not in get_args(known) and not is_own_name(value):
            allowed = ", ".join(get_args(known))
            raise ValueError(f"{info.field_name} is {shortened(value)}; allowed: {allowed}, or own:NAME")
        return value

    @model_validator(mode="before")
    @classmethod
    def _needs_no_small_model(cls, settings: Any) -> Any:
        return without_models(settings)

    @model_validator(mode="after")
    def _scores_or_a_small_model(self) -> Self:
        check_scores_or_small_model(self)
        return self

    @model_validator(mode="after")
    def _spread_or_several(self) -> Self:
        if self.processes > 1 and self.device_map != "none":
            raise ValueError(
                f"device_map is {self.device_map!r}, which is for one process; processes is {self.processes}"
            )
        if self.processes > 1 and ":" in self.device:
            raise ValueError(f"device is {self.device!r}, but processes is {self.processes}; allowed: cuda")
        if self.shard_target and self.processes == 1:
            raise ValueError("shard_target needs several processes, but processes is 1")
        if self.shard_target and self.quantize != "none":
            raise ValueError(f"shard_target is for whole weights, but quantize is {self.quantize!r}")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """The models of a run of the plan, the small one first."""
        return tuple(name for name in (self.small, self.target) if name != NO_MODEL)

    @model_validator(mode="after")
    def _columns_come_in_pairs(self) -> Self:
        prompt = self.prompt_column if self.prompt_template is None else self.prompt_template
        if (prompt is None) != (self.response_column is None):
            raise ValueError(
                "give both prompt_column (or prompt_template) and response_column, or neither of them"
            )
        return self

    @property
    def scores_alone(self) -> bool:
        """Whether a run of the plan scores responses without their prompts."""
        return self.ifd or "ifd" in (self.score, self.drop_by)

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build a plan, or report in one line which setting is wrong.

        Raises
        ------
        PlanError
            With the setting's name, its value and what is allowed.

        Notes
        -----
        `preset` names one of `PRESETS`. Settings given explicitly take precedence over its settings.
        """
        return made(cls, with_preset(settings))

    def but(self, **changes: object) -> Self:
        """Return a validated copy of the plan with some settings changed. Raises PlanError."""
        return self.make(**{**self.model_dump(), **with_preset(changes)})
