"""Presets: named sets of selection settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from staff_engine.errors import PlanError


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
