"""The experiment as a file: grid.toml, read and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, field_validator

from staff_engine.evaluation.cells import FULL, Budget

ORACLE = "oracle"
GRID = Path(__file__).with_name("grid.toml")
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "measured"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Frozen):
    """A data set of the experiment."""

    name: str
    task: str
    """Data sets of a task are not independent: the interval of the primary endpoint is clustered by task."""
    source: str
    faulty: bool = False
    """Whether it has faults made on purpose."""
    limit: int | None = None
    held_out: str | None = None
    """A file of held-out samples. Built-in data has its own."""


class Variant(_Frozen):
    """A run with other settings on the same data. Its own coreset is an arm."""

    arm: str
    data: tuple[str, ...]
    """The names of the data sets for which it is done."""
    plan: dict[str, Any]
    """The settings that differ from the preset Paper."""


class Grid(_Frozen):
    """The whole experiment."""

    page: str = "evidence"
    """The name of its table and page in docs/measured."""
    title: str = "how coresets train"
    small: str
    target: str
    """The models, as in a plan; $NAME is an environment variable."""
    seeds: int
    full_seeds: int
    pruning_rate: float
    plan: dict[str, Any]
    """Settings of every run."""
    evaluation: dict[str, Any]
    """Settings of every evaluation."""
    methods: tuple[str, ...]
    data: tuple[Data, ...]
    variants: tuple[Variant, ...] = ()

    @field_validator("evaluation")
    @classmethod
    def _one_budget(cls, evaluation: dict[str, Any]) -> dict[str, Any]:
        budget = evaluation.get("budget", "epochs")
        if budget not in get_args(Budget):
            raise ValueError(f"budget {budget!r}; allowed: {', '.join(get_args(Budget))}")
        return evaluation

    @property
    def budget(self) -> Budget:
        """What coresets are trained for: the epochs of the full data, or its steps."""
        return self.evaluation.get("budget", "epochs")

    @property
    def file(self) -> str:
        """The name of its own file beside this module."""
        return f"{self.page.removeprefix('evidence_')}.toml"

    @property
    def table(self) -> Path:
        """The file of its cells."""
        return FOLDER / f"{self.page}.parquet"

    @property
    def facts(self) -> Path:
        """The file of everything else on its page."""
        return self.table.with_suffix(".json")

    @property
    def cells(self) -> int:
        """Number of cells of the whole experiment, without the untouched target."""
        return sum(sum(self.arms_on(each).values()) for each in self.data)

    def arms_on(self, data: Data) -> dict[str, int]:
        """The arms on a data set, with the number of seeds of each."""
        variants = [each.arm for each in self.variants if data.name in each.data]
        return {FULL: self.full_seeds, **dict.fromkeys([*self.methods_on(data), *variants], self.seeds)}

    def methods_on(self, data: Data) -> tuple[str, ...]:
        """The methods on a data set. Without faults, the oracle is the same as random and is left out."""
        return tuple(name for name in self.methods if data.faulty or name != ORACLE)


def read_grid(path: Path = GRID) -> Grid:
    """Read the experiment. Raises pydantic.ValidationError if a key is unknown or missing."""
    return Grid(**tomllib.loads(path.read_text(encoding="utf-8")))
