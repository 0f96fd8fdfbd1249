"""The manifest of an export: program, data, settings and results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.program import NAME
from staff_engine.runs.composition import response_lengths
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.system.files import read_checked

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection


def describe(results: Results, selection: Selection, settings: dict[str, Any]) -> dict[str, Any]:
    """The content of a manifest, without its files.

    Parameters
    ----------
    results
        The run.
    selection, settings
        The coreset, and its selection settings.

    Returns
    -------
    dict
        JSON-ready. `made_with` are the packages that scored the samples, as recorded when the
        run was created. `to_verify` counts the samples that these settings would verify and
        that are not verified yet: the coreset is provisional while it is above 0.
    """
    import staff_engine

    record = read_checked(results.folder / "plan.json")
    facts = results.imported.facts
    scorable = int(np.isfinite(results.speculative).sum())
    return {
        "program": NAME,
        "version": staff_engine.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": {"id": results.folder.name, "name": record.get("name"), "created": record.get("created")},
        "made_with": record.get("versions", {}),
        "plan": results.plan.model_dump(mode="json"),
        "settings": dict(settings),
        "data": {
            "source": facts.source,
            "format": facts.format,
            "rows": facts.rows,
            "fingerprint": facts.fingerprint,
            "source_sha256": facts.source_sha256,
        },
        "counts": {
            "rows": facts.rows,
            "scorable": scorable,
            "unscorable": facts.rows - scorable,
            "near_duplicates": len(selection.duplicates),
            "tuned": len(results.tuned_ids),
            "verified": len(results.verified_ids),
            "to_verify": len(to_verify(results, **settings)),
            "selected": len(selection.indices),
        },
        "response_tokens": asdict(response_lengths(results, selection.indices)),
        "strata": strata_counts(selection),
        "warnings": list(selection.warnings),
    }


def strata_counts(selection: Selection) -> list[dict[str, Any]]:
    """Bounds and counts of each stratum, from the arrays, so that an export does not import pandas."""
    columns = {
        "low": selection.edges[:-1],
        "high": selection.edges[1:],
        "size": selection.sizes,
        "verified": selection.verified,
        "ratio": selection.ratios,
        "paper_ratio": selection.paper_ratios,
        "budget": selection.budget,
    }
    rows = zip(*(_or_none(column) for column in columns.values()), strict=True)
    return [{"stratum": i, **dict(zip(columns, row, strict=True))} for i, row in enumerate(rows)]


def _or_none(column: np.ndarray) -> list[float | int | None]:
    """The values of a column, with None for NaN, which JSON does not have."""
    return [None if value != value else value for value in column.tolist()]


def describe_file(path: Path, name: str, rows: int) -> dict[str, Any]:
    """A file's name, rows, size in bytes and sha256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": name, "rows": rows, "bytes": path.stat().st_size, "sha256": digest}


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest as indented JSON."""
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
