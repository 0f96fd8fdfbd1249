"""The rounds of adaptive verification, stored before they are scored, so that a stopped one continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import RootModel

from staff_engine.plan import VERIFY_FIELDS
from staff_engine.selection.ratios.rounds import draw_round
from staff_engine.selection.ratios.rules import samples_to_verify
from staff_engine.system.files import read_model, write_json

if TYPE_CHECKING:
    from staff_engine.runs.results import Results

ROUNDS_FILE = "verification_rounds.json"


class _Rounds(RootModel[dict[str, list[list[int]]]]):
    """The content of the file: the row ids of each round, by settings."""


def key_of(settings: Mapping[str, Any], per_stratum: int) -> str:
    """The key of the selection settings and b_v that rounds belong to."""
    known = {**settings, "verify_per_stratum": per_stratum, "adaptive": True}
    return json.dumps({name: known[name] for name in sorted(VERIFY_FIELDS)})


def next_round(
    results: Results, settings: Mapping[str, Any], per_stratum: int, drawn_by: Mapping[str, Any]
) -> np.ndarray:
    """Row ids, int64, of the rest of the last round, or of the next one; empty if none is needed.

    Parameters
    ----------
    settings
        All selection settings.
    per_stratum
        b_v of even verification.
    drawn_by
        The settings and arrays that determine the strata, as `verification.draw_verification` takes them.
    """
    done = read_rounds(results.folder, key_of(settings, per_stratum))
    rest = np.setdiff1d(done[-1], results.verified_ids) if done else np.zeros(0, np.int64)
    if len(rest):
        return rest
    return draw_round(
        results.pool(settings["score"]),
        results.verified_ids,
        results.verified_by(settings["score"]),
        per_stratum=samples_to_verify(settings["ratio"], per_stratum),
        last_round=done[-1] if len(done) > 1 else (),
        excluded=results.tuned_ids,
        ratio=settings["ratio"],
        allocation=settings["allocation"],
        **drawn_by,
    )


def read_rounds(folder: Path, key: str) -> list[np.ndarray]:
    """The row ids, int64, of each round for a key, in order; empty if there was none.

    Raises RunError if the file is damaged.
    """
    path = folder / ROUNDS_FILE
    known = read_model(path, _Rounds).root if path.exists() else {}
    return [np.array(row_ids, dtype=np.int64) for row_ids in known.get(key, [])]


def add_round(folder: Path, key: str, row_ids: np.ndarray) -> None:
    """Store a round before it is scored, unless it is the rest of the last one."""
    rounds = read_rounds(folder, key)
    if rounds and np.isin(row_ids, rounds[-1]).all():
        return
    path = folder / ROUNDS_FILE
    known = read_model(path, _Rounds).root if path.exists() else {}
    known[key] = [*known.get(key, []), row_ids.tolist()]
    write_json(path, known)
