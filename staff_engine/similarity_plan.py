"""The plan of a similarity run: which models are compared."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from staff_engine.settings import made, usable_path

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
        return tuple(usable_path(each, info) for each in value)

    @classmethod
    def make(cls, **settings: object) -> Self:
        """Build a plan, or report in one line which setting is wrong. Raises PlanError."""
        return made(cls, settings)
