"""The plan: every setting of a run, with its default, bounds and help text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from staff_engine.errors import PlanError, shortened

Model = TypeVar("Model", bound=BaseModel)
Share = Annotated[float, Field(ge=0.0, lt=1.0)]

OWN = "own:"
"""Beginning of the name of a score that a user brings to a run."""
_OWN_NAME = rf"^{OWN}[A-Za-z0-9_.-]{{1,60}}$"
OwnScore = Annotated[str, StringConstraints(pattern=_OWN_NAME)]

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

LONGEST_PATH, LONGEST_FILE_NAME = 4096, 255
"""Bytes of a path, and of each name in it, that Linux and macOS allow."""

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


@dataclass(frozen=True)
class Preset:
    """A named set of selection settings."""

    name: str
    label: str
    sentence: str
    settings: Mapping[str, str | int | float]


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "paper", "Paper",
            "Algorithm 1 of STAFF (Zhang et al., ICLR 2025): effort, strata of equal width, ratios of target"
            " score to small score.",
            {
                "score": "effort", "strata": 50, "strata_by": "width", "ratio": "paper",
                "allocation": "paper", "within": "random", "drop_hardest": 0.1, "drop_by": "score",
                "drop_evenly": False, "near_duplicates": 0.0,
            },
        ),
        Preset(
            "released", "Released code",
            "The authors' code: scores scaled to 0 to 1, normalized allocation, the hardest samples of each"
            " stratum.",
            {
                "score": "effort", "strata": 50, "strata_by": "width", "ratio": "released",
                "allocation": "normalized", "within": "hardest", "drop_hardest": 0.1, "drop_by": "score",
                "drop_evenly": False, "near_duplicates": 0.0,
            },
        ),
        Preset(
            "studio", "Studio",
            "Ours: near duplicates and the 30 % with the highest IFD for their length are left out, because"
            " such responses hardly follow from their prompts; strata of equal size of the length-adjusted"
            " effort, calibrated ratios, budget in proportion to size.",
            {
                "score": "length-adjusted", "strata": 20, "strata_by": "quantile", "ratio": "calibrated",
                "allocation": "proportional", "within": "random", "drop_hardest": 0.3, "drop_by": "ifd",
                "drop_evenly": True, "near_duplicates": 0.9,
            },
        ),
    )
}  # fmt: skip


def with_preset(settings: Mapping[str, object]) -> dict[str, object]:
    """Replace `preset` by the settings that it names. Settings given explicitly take precedence.

    Raises
    ------
    PlanError
        If the preset is unknown.
    """
    given = dict(settings)
    name = given.pop("preset", None)
    if name is None:
        return given
    if name not in PRESETS:
        raise PlanError(f"preset is {name!r}; allowed: {', '.join(PRESETS)}")
    return {**PRESETS[str(name)].settings, **given}


def preset_of(settings: Mapping[str, object]) -> str | None:
    """The name of the preset that the selection settings match; None if they match none."""
    for preset in PRESETS.values():
        if all(settings[name] == value for name, value in preset.settings.items()):
            return preset.name
    return None


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
        return _usable_path(value, info)

    @field_validator("chat_template")
    @classmethod
    def _can_be_a_file(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else _usable_path(value, info)

    @field_validator(
        "format", "prompt_column", "response_column", "conversation_column", "roles", "encoding", "delimiter",
        "apart_from", "split", "attn_implementation", "lora_targets",
    )  # fmt: skip
    @classmethod
    def _can_be_written(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else _usable_text(value, info)

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
        own = isinstance(value, str) and re.fullmatch(_OWN_NAME, value)
        if value not in get_args(known) and not own:
            allowed = ", ".join(get_args(known))
            raise ValueError(f"{info.field_name} is {shortened(value)}; allowed: {allowed}, or own:NAME")
        return value

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
        return _made(cls, with_preset(settings))

    def but(self, **changes: object) -> Self:
        """Return a validated copy of the plan with some settings changed. Raises PlanError."""
        return self.make(**{**self.model_dump(), **with_preset(changes)})


MOST_MODELS = 64
"""Small models, or targets, in one similarity run."""


class SimilarityPlan(BaseModel):
    """Which models are compared, and on how many samples. The run's plan has all other settings. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smalls: tuple[str, ...] = Field(
        min_length=1,
        max_length=MOST_MODELS,
        description="Candidate small models for the targets, each given as in a plan.",
    )
    targets: tuple[str, ...] = Field(
        min_length=1, max_length=MOST_MODELS, description="Target models, each given as in a plan."
    )
    sample: int = Field(
        300,
        ge=10,
        le=10_000,
        description="Number of samples that every model scores, drawn uniformly from all samples.",
    )
    strata: int = Field(
        10,
        ge=2,
        le=1_000,
        description="K, the number of strata for the agreement measure. Use few strata for few samples.",
    )

    @field_validator("smalls", "targets")
    @classmethod
    def _can_be_paths(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(_usable_path(each, info) for each in value)

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build a plan, or report in one line which setting is wrong. Raises PlanError."""
        return _made(cls, settings)


PILOT_MINUTES = 10.0
"""The most time that a pilot takes, unless another is chosen."""


class EvaluationPlan(BaseModel):
    """Which coresets the target is fine-tuned on, and how it is judged. Frozen.

    The run's plan has all other settings. The seeds are plan.seed to plan.seed + seeds - 1. Each
    is the seed of both the selection of a coreset and the fine-tuning on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(min_length=1, description="The folder of the run whose coresets are evaluated.")
    methods: tuple[str, ...] = Field(min_length=1, description="Methods that select the coresets.")
    pruning_rates: tuple[Share, ...] = Field(
        min_length=1, description="Fractions of the scorable samples to remove."
    )
    seeds: int = Field(
        3, ge=1, le=100, description="Number of seeds. Selection and fine-tuning are repeated for each."
    )
    own_draw: bool = Field(
        False,
        description="For each seed, use only the verified samples that this seed draws, if all of them are"
        " verified. So what was verified for one seed does not change the coreset of another. By default, all"
        " verified samples count.",
    )
    full_seeds: int | None = Field(
        None,
        ge=0,
        le=100,
        description="Number of seeds for which the target is also fine-tuned on the full data, which takes"
        " longest. Default: all seeds.",
    )
    budget: Literal["epochs", "steps", "both"] = Field(
        "epochs",
        description="How long to train on each coreset: for the plan's epochs, for as many steps as the full"
        " data needs for these epochs, or both.",
    )
    baseline_scores: Literal["small", "target"] = Field(
        "small",
        description="The scores that the other methods use: those of the run's small model, or, as in the"
        " paper, those of the target after fine-tuning on all data.",
    )
    beta: Share | None = Field(
        None,
        description="β, the fraction of the hardest samples that some methods leave out. Default: the plan's"
        " drop_hardest.",
    )
    baseline_strata: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="K, the number of strata of CCS. STAFF's own K is that of the run's plan.",
    )
    also: dict[str, str] = Field(
        {}, description="Other finished runs on the same data, whose own coresets are also evaluated."
    )
    held_out: str | None = Field(
        None,
        description="A file of held-out samples. Required for your own data. Built-in data has a held-out"
        " split.",
    )
    held_out_samples: int = Field(
        200, ge=2, le=100_000, description="Maximum number of held-out samples whose loss is measured."
    )
    answers: int = Field(
        100,
        ge=0,
        le=100_000,
        description="Number of held-out samples for which an answer is generated. 0: none.",
    )
    answer_tokens: int = Field(64, ge=1, le=4096, description="Maximum tokens of a generated answer.")
    metric: Literal["auto", "rouge-l", "chrf"] = Field(
        "auto",
        description="Metric for the answers. auto: the metric of the built-in task; for other data rouge-l,"
        " or chrf if most letters are not Latin.",
    )

    @field_validator("source", "held_out")
    @classmethod
    def _can_be_a_path(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else _usable_path(value, info)

    @field_validator("methods")
    @classmethod
    def _can_be_written(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(_usable_text(each, info) for each in value)

    @field_validator("also")
    @classmethod
    def _can_be_paths(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        return {_usable_text(label, info): _usable_path(path, info) for label, path in value.items()}

    @field_validator("methods", "pruning_rates")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(value))

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build a plan, or report in one line which setting is wrong. Raises PlanError."""
        return _made(cls, settings)

    def but(self, **changes: object) -> Self:
        """Return a validated copy with some settings changed. Raises PlanError."""
        return self.make(**{**self.model_dump(), **changes})


def _made(kind: type[Model], settings: dict[str, object]) -> Model:
    try:
        return kind(**settings)
    except ValidationError as error:
        raise PlanError("; ".join(map(_sentence, error.errors()))) from None


def _sentence(error: Any) -> str:
    name = ".".join(map(str, error["loc"])) or "plan"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "extra_forbidden":
        return f"unknown setting {name!r}; the settings are {', '.join(Plan.model_fields)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{name} is {shortened(error['input'])}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _usable_text(text: str, info: ValidationInfo) -> str:
    """A text that a file can contain. Raises ValueError."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{info.field_name} is {shortened(text)}: it has characters that no text can have")
    if len(text) > LONGEST_PATH:
        raise ValueError(
            f"{info.field_name} is {shortened(text)}; allowed: up to {LONGEST_PATH:,} characters"
        )
    return text


def _usable_path(text: str, info: ValidationInfo) -> str:
    """A name that can be a path. Raises ValueError."""
    _usable_text(text, info)
    longest = max(len(os.fsencode(name)) for name in text.split("/"))
    if longest > LONGEST_FILE_NAME or len(os.fsencode(text)) > LONGEST_PATH:
        raise ValueError(
            f"{info.field_name} is {shortened(text)}: too long; allowed: a path of up to"
            f" {LONGEST_PATH:,} bytes, and up to {LONGEST_FILE_NAME} for each name in it"
        )
    return text
