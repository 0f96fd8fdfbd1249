"""The plan: every setting of a run, with its default, bounds and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from staff_engine.errors import PlanError

Model = TypeVar("Model", bound=BaseModel)
Share = Annotated[float, Field(ge=0.0, lt=1.0)]

SELECTION_FIELDS = (
    "pruning_rate", "score", "strata", "strata_by", "ratio", "allocation", "within", "drop_hardest", "seed",
)  # fmt: skip
"""The settings that turn scores into a coreset: they move without running a model."""


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
            "Algorithm 1 of STAFF (Zhang et al., ICLR 2025): effort, strata of equal width, target score over"
            " small score.",
            {
                "score": "effort", "strata": 50, "strata_by": "width", "ratio": "paper",
                "allocation": "paper", "within": "random", "drop_hardest": 0.1,
            },
        ),
        Preset(
            "released", "Released code",
            "The authors' code: scores scaled to 0 to 1, normalized allocation, the hardest samples of each"
            " stratum.",
            {
                "score": "effort", "strata": 50, "strata_by": "width", "ratio": "released",
                "allocation": "normalized", "within": "hardest", "drop_hardest": 0.1,
            },
        ),
        Preset(
            "studio", "Studio",
            "Ours: length-adjusted effort, strata of equal size, calibrated ratios, budget in proportion to"
            " size, samples that represent the others best.",
            {
                "score": "length-adjusted", "strata": 20, "strata_by": "quantile", "ratio": "calibrated",
                "allocation": "proportional", "within": "diverse", "drop_hardest": 0.1,
            },
        ),
    )
}  # fmt: skip


def with_preset(settings: Mapping[str, object]) -> dict[str, object]:
    """Replace `preset` among some settings by what it stands for; settings that are given win.

    Raises
    ------
    PlanError
        If there is no such preset.
    """
    given = dict(settings)
    name = given.pop("preset", None)
    if name is None:
        return given
    if name not in PRESETS:
        raise PlanError(f"preset is {name!r}; allowed: {', '.join(PRESETS)}")
    return {**PRESETS[str(name)].settings, **given}


def preset_of(settings: Mapping[str, object]) -> str | None:
    """The name of the preset that selection settings are those of; None where they are of none."""
    for preset in PRESETS.values():
        if all(settings[name] == value for name, value in preset.settings.items()):
            return preset.name
    return None


class Plan(BaseModel):
    """Every setting of a run; frozen. `Plan.field(name).description` is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(
        min_length=1,
        description="A file (.jsonl .json .csv .parquet, also .gz .zst), a hub name, or built-in data: "
        "builtin:docstrings, builtin:kazakh, builtin:chat.",
    )
    format: str | None = Field(
        None,
        description="The record format: messages, sharegpt, prompt-completion, alpaca, query-response,"
        " question-answer or columns; detected where it is not given.",
    )
    prompt_column: str | None = Field(None, description="The column that holds the prompt.")
    response_column: str | None = Field(None, description="The column that holds the response.")
    split: str = Field(
        "train",
        description="The split of a hub data set; of built-in data train, nine tenths of it, or held_out.",
    )
    limit: int | None = Field(None, ge=2, description="Read only the first rows; all where it is not given.")

    small: str = Field(
        min_length=1,
        description="The small model, which scores all samples: hub name, folder, .gguf file, builtin:NAME.",
    )
    target: str = Field(
        min_length=1,
        description="The target model, which verifies: hub name, folder, .gguf file or builtin:NAME.",
    )
    device: str = Field(
        "auto", description="cpu, cuda, cuda:N, mps, or auto: the first of CUDA, MPS, CPU there is."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = Field(
        "auto",
        description="Number format of the weights; auto takes bfloat16 where a few samples show that it is"
        " faster and ranks alike, else float32.",
    )

    max_length: int = Field(
        1024, ge=8, description="Most tokens of a sample; what is over is cut, prompts first."
    )
    epochs: int = Field(
        3,
        ge=1,
        le=100,
        description="Passes over the data in which the small model is fine-tuned, and over its own samples a"
        " target that is tuned.",
    )
    batch_size: int = Field(8, ge=1, description="Samples in each step of fine-tuning.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Peak learning rate; 1e-4, or what the model's card says, where not given.",
    )
    lora_rank: int = Field(8, ge=1, le=512, description="Rank of the LoRA matrices.")
    lora_alpha: int = Field(16, ge=1, description="LoRA scale: its product is multiplied by alpha / rank.")
    tune_target: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Samples on which the target is fine-tuned before it verifies others; 0 leaves it"
        " untouched, as the paper does.",
    )

    scored_parameters: Literal["all", "last_block"] = Field(
        "all",
        description="Whose gradient is the effort: every lora_B, or only the last decoder block's (faster).",
    )
    tokens_per_batch: int = Field(
        1024, ge=64, description="Most tokens, padding counted, that one scoring batch holds."
    )

    pruning_rate: Share = Field(0.9, description="Fraction of the scorable samples that is removed.")
    score: Literal["effort", "length-adjusted", "loss"] = Field(
        "effort",
        description="What samples are ranked and verified by: effort (the paper), effort times the square"
        " root of the response's tokens, or loss.",
    )
    strata: int = Field(50, ge=1, le=10_000, description="K, the number of score regions.")
    strata_by: Literal["width", "log", "quantile"] = Field(
        "width",
        description="How regions are cut: equal width of score (the paper), of log score, or equal count.",
    )
    verify_per_stratum: int = Field(
        10, ge=0, description="b_v, the samples that the target scores in each stratum."
    )
    drop_hardest: Share = Field(
        0.1, description="Fraction of the highest speculative scores left out before stratifying."
    )
    ratio: Literal["paper", "calibrated", "released"] = Field(
        "paper",
        description="How verified samples become ratios: target score over small score (the paper); over what"
        " the small model's score predicts, shrunken; or of scores scaled to 0 to 1 (the released code).",
    )
    allocation: Literal["paper", "normalized", "proportional"] = Field(
        "paper",
        description="How ratios become counts: as in the paper, as in the released code, or in proportion to"
        " size times ratio.",
    )
    within: Literal["random", "hardest", "diverse"] = Field(
        "random",
        description="Which samples of a stratum are taken: drawn (the paper), the highest scores, or those"
        " that represent the others best by embedding.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of fine-tuning and of every draw.")

    @model_validator(mode="after")
    def _columns_come_in_pairs(self) -> Self:
        if (self.prompt_column is None) != (self.response_column is None):
            raise ValueError("prompt_column and response_column are given together or not at all")
        return self

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build a plan, or say in one line which setting is wrong.

        Raises
        ------
        PlanError
            With the setting's name, its value and what is allowed.

        Notes
        -----
        `preset` stands for the settings of one of `PRESETS`; what is given beside it wins.
        """
        return _made(cls, with_preset(settings))

    def but(self, **changes: object) -> Self:
        """Return the plan with some settings changed, checked anew. Raises PlanError."""
        return self.make(**{**self.model_dump(), **with_preset(changes)})


class SimilarityPlan(BaseModel):
    """Which models are compared, and on how many samples; a plan beside it says the rest. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smalls: tuple[str, ...] = Field(
        min_length=1, description="Small models that may speak for a target: as in a plan."
    )
    targets: tuple[str, ...] = Field(min_length=1, description="Targets: as in a plan.")
    sample: int = Field(
        300, ge=10, le=10_000, description="Samples that every model scores, drawn from all alike."
    )
    strata: int = Field(
        10,
        ge=2,
        le=1_000,
        description="K, the strata whose agreement is measured; few, for few samples.",
    )

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build one, or say in one line which setting is wrong. Raises PlanError."""
        return _made(cls, settings)


class EvaluationPlan(BaseModel):
    """Which coresets the target is fine-tuned on, and how it is judged; a plan beside it says the rest.

    Frozen. Seed s, of `seeds` from the plan's own on, is that of a coreset's selection and
    of the fine-tuning on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(min_length=1, description="The folder of the run whose coresets are evaluated.")
    methods: tuple[str, ...] = Field(min_length=1, description="Methods that choose the coresets.")
    pruning_rates: tuple[Share, ...] = Field(
        min_length=1, description="Fractions of the scorable samples that are removed."
    )
    seeds: int = Field(3, ge=1, le=100, description="Seeds; each repeats selection and fine-tuning.")
    budget: Literal["epochs", "steps", "both"] = Field(
        "epochs",
        description="How long each coreset is trained on: the plan's epochs over it, or as many steps as"
        " the full data takes in these.",
    )
    baseline_scores: Literal["small", "target"] = Field(
        "small",
        description="Whose scores the other methods read: those of the run's small model, or, as in the"
        " paper, of the target, which is fine-tuned on the data and scores all of it.",
    )
    beta: Share | None = Field(
        None,
        description="Fraction of the hardest that CCS and D2 leave out; the plan's drop_hardest if none.",
    )
    also: dict[str, str] = Field(
        {}, description="Further finished runs on the same data, whose own STAFF coresets join."
    )
    held_out: str | None = Field(
        None,
        description="A file of samples kept apart, needed for data of your own; built-in data has a held-out"
        " split.",
    )
    held_out_samples: int = Field(
        200, ge=2, le=100_000, description="Most held-out samples whose loss is measured."
    )
    answers: int = Field(
        100, ge=0, le=100_000, description="Held-out samples to which an answer is generated; 0 for none."
    )
    answer_tokens: int = Field(64, ge=1, le=4096, description="Most tokens of a generated answer.")
    metric: Literal["auto", "rouge-l", "chrf"] = Field(
        "auto",
        description="What answers are measured by; auto: a built-in task's own, else rouge-l, or chrf where"
        " most letters are not Latin.",
    )

    @field_validator("methods", "pruning_rates")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(value))

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build one, or say in one line which setting is wrong. Raises PlanError."""
        return _made(cls, settings)

    def but(self, **changes: object) -> Self:
        """Return it with some settings changed, checked anew. Raises PlanError."""
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
        return f"{name} is no setting of a plan; the settings are {', '.join(Plan.model_fields)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{name} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"
