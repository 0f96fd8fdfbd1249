"""The plan of an evaluation: which coresets the target is fine-tuned on, and how it is judged."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from staff_engine.settings import Share, made, usable_path, usable_text

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
        return value if value is None else usable_path(value, info)

    @field_validator("methods")
    @classmethod
    def _can_be_written(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(usable_text(each, info) for each in value)

    @field_validator("also")
    @classmethod
    def _can_be_paths(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        return {usable_text(label, info): usable_path(path, info) for label, path in value.items()}

    @field_validator("methods", "pruning_rates")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(value))

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build a plan, or report in one line which setting is wrong. Raises PlanError."""
        return made(cls, settings)

    def but(self, **changes: object) -> Self:
        """Return a validated copy with some settings changed. Raises PlanError."""
        return self.make(**{**self.model_dump(), **changes})
