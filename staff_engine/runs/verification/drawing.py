"""Which samples of a run the target must still score, or is fine-tuned on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.plan import VERIFY_FIELDS
from staff_engine.runs.verification import rounds
from staff_engine.scoring.parts import LOSS_ALONE, alone_folder
from staff_engine.selection.ratios.rounds import NOT_ADAPTIVE
from staff_engine.selection.ratios.rules import samples_to_verify
from staff_engine.selection.tuning import draw_tuning
from staff_engine.selection.verification import draw_verification
from staff_engine.system.arrow import to_numpy

if TYPE_CHECKING:
    from staff_engine.runs.results import Results

_NONE = np.zeros(0, dtype=np.int64)


def to_verify(
    results: Results,
    *,
    verify_per_stratum: int | None = None,
    adaptive: bool | None = None,
    own_draw: bool = False,
    **changes: Any,
) -> np.ndarray:
    """Row ids, int64, that the target must still score for these settings; empty if none are missing.

    A stratum with enough verified samples needs no more, unless `own_draw`: then the samples are those
    that these settings draw if nothing is verified yet; see `Results.select`. With adaptive verification,
    the samples of the next round, or the rest of the last one. The paper's allocation always needs an even
    verification.
    """
    if own_draw:
        return np.setdiff1d(_draw(results, verify_per_stratum, _NONE, changes), results.verified_ids)
    settings = results.settings(**changes)
    wanted = results.plan.adaptive if adaptive is None else adaptive
    if wanted and settings["allocation"] != NOT_ADAPTIVE:
        per_stratum = results.plan.verify_per_stratum if verify_per_stratum is None else verify_per_stratum
        return rounds.next_round(results, settings, per_stratum, _drawn_by(results, settings))
    return _draw(results, verify_per_stratum, results.verified_ids, changes)


def own_draw(results: Results, **changes: Any) -> np.ndarray:
    """Row ids, int64, that the target scores for these settings alone, if nothing is verified yet."""
    return _draw(results, None, _NONE, changes)


def count_verified(results: Results, **changes: Any) -> int:
    """Number of samples that the target scores for these settings alone, if nothing is verified yet."""
    return len(own_draw(results, **changes))


def to_verify_alone(results: Results) -> np.ndarray:
    """Row ids, int64, of verified samples whose responses the target must still score without prompts.

    Empty if the small model has not scored responses without prompts.
    """
    if LOSS_ALONE not in results.columns:
        return np.zeros(0, dtype=np.int64)
    done = to_numpy(results.read(alone_folder(results.folder / "verification").name, ["row_id"])["row_id"])
    return np.setdiff1d(results.verified_ids[np.isfinite(results.verified_scores)], done)


def to_tune(results: Results) -> np.ndarray:
    """Row ids, int64, to fine-tune the target on; none of them is verified by the plan."""
    return draw_tuning(
        results.pool(results.plan.score),
        count=results.plan.tune_target,
        apart_from=np.union1d(results.verified_ids, to_verify(results)),
        **_drawn_by(results, results.settings()),
    )


def verify_options(results: Results, **changes: Any) -> str:
    """The options of `verify` on the command line for these selection settings; "" for the plan's."""
    settings = results.settings(**changes)
    return "".join(
        f" {_option(name, settings[name])}"
        for name in VERIFY_FIELDS
        if name in settings and settings[name] != getattr(results.plan, name)
    )


def _option(name: str, value: Any) -> str:
    """A setting as an option of the command line."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value}"


def _draw(
    results: Results, verify_per_stratum: int | None, verified: np.ndarray, changes: dict[str, Any]
) -> np.ndarray:
    settings = results.settings(**changes)
    return draw_verification(
        results.pool(settings["score"]),
        per_stratum=samples_to_verify(
            settings["ratio"],
            results.plan.verify_per_stratum if verify_per_stratum is None else verify_per_stratum,
        ),
        verified=verified,
        excluded=results.tuned_ids,
        **_drawn_by(results, settings),
    )


def _drawn_by(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """The selection settings that determine which samples are drawn for the target."""
    names = ("strata_by", "drop_hardest", "pruning_rate", "seed")
    return {
        "num_strata": settings["strata"],
        **{name: settings[name] for name in names},
        **results.cuts(settings),
    }
