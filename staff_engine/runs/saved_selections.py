"""Saved selections: a name and the settings that reproduce the coreset."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from staff_engine.errors import RunError
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.runs.status import now
from staff_engine.system.files import read_model, write_checked

FOLDER = "selections"
LONGEST = 60


class SavedSelection(BaseModel):
    """A saved selection; frozen. `settings` contains `SELECTION_FIELDS`.

    An older version did not store settings that came later. They have their defaults, which do what
    that version did.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    created: datetime
    settings: dict[str, Any]

    @field_validator("settings")
    @classmethod
    def _of_older_versions(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return {name: Plan.model_fields[name].default for name in SELECTION_FIELDS} | settings


def save_selection(folder: Path, name: str, settings: dict[str, Any]) -> SavedSelection:
    """Save a selection in a run's folder.

    Parameters
    ----------
    folder
        The run's folder.
    name
        Name of the selection; names need not be unique.
    settings
        `SELECTION_FIELDS` and their values.

    Raises
    ------
    RunError
        If the name is blank or too long.
    PlanError
        If a setting is not allowed.
    """
    name = _checked(name)
    plan = Plan.make(dataset="-", small="-", target="-", **settings)
    saved = SavedSelection(
        id=_new_id(folder, name),
        name=name,
        created=now(),
        settings={field: getattr(plan, field) for field in SELECTION_FIELDS},
    )
    _write(folder, saved)
    return saved


def list_saved(folder: Path) -> list[SavedSelection]:
    """List the selections saved in a run's folder, newest first, without damaged ones."""
    saved = [each for each in _read_all(folder) if isinstance(each, SavedSelection)]
    return sorted(saved, key=lambda each: each.created, reverse=True)


def damaged_selections(folder: Path) -> list[str]:
    """Why some saved selections cannot be read, a sentence for each."""
    return [each for each in _read_all(folder) if isinstance(each, str)]


def _read_all(folder: Path) -> list[SavedSelection | str]:
    """Every saved selection, or why it cannot be read."""
    found: list[SavedSelection | str] = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            found.append(read_model(path, SavedSelection))
        except RunError as error:
            found.append(str(error))
    return found


def find_saved(folder: Path, selection_id: str) -> SavedSelection:
    """Find a saved selection by its id. Raises RunError if it does not exist."""
    known = {saved.id: saved for saved in list_saved(folder)}
    if selection_id not in known:
        raise RunError(
            f"saved selection {selection_id!r} does not exist; existing: {', '.join(known) or 'none'}"
        )
    return known[selection_id]


def rename_saved(folder: Path, selection_id: str, name: str) -> SavedSelection:
    """Rename a saved selection. Raises RunError if the name is blank or the selection does not exist."""
    renamed = find_saved(folder, selection_id).model_copy(update={"name": _checked(name)})
    _write(folder, renamed)
    return renamed


def delete_saved(folder: Path, selection_id: str) -> None:
    """Delete a saved selection. Raises RunError if it does not exist."""
    _path(folder, find_saved(folder, selection_id).id).unlink(missing_ok=True)


def _checked(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > LONGEST:
        raise RunError(f"the name of a selection is {name!r}; allowed: 1 to {LONGEST} characters")
    return name


def _new_id(folder: Path, name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "selection"
    taken = {path.stem for path in (folder / FOLDER).glob("*.json")}
    number = 1
    while (chosen := slug if number == 1 else f"{slug}-{number}") in taken or chosen in ("current", "plan"):
        number += 1
    return chosen


def _path(folder: Path, selection_id: str) -> Path:
    return folder / FOLDER / f"{selection_id}.json"


def _write(folder: Path, saved: SavedSelection) -> None:
    (folder / FOLDER).mkdir(exist_ok=True)
    write_checked(_path(folder, saved.id), saved.model_dump(mode="json"))
