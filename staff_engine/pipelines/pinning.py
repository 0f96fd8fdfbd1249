"""Pin the models and data of a run to the commits that their names on the hub mean when it starts.

plan.json then holds NAME@COMMIT. A run that continues after a repository has changed uses what it began with.
"""

from __future__ import annotations

from pathlib import Path

from staff_engine.brought_scores import NO_MODEL
from staff_engine.data.sources import pinned_source
from staff_engine.models.sources import pinned
from staff_engine.plan import Plan
from staff_engine.runs.control import update_record
from staff_engine.runs.folders import Run, read_plan
from staff_engine.similarity_plan import SimilarityPlan


def pin(folder: Path, similarity: SimilarityPlan | None = None) -> None:
    """Write the commits into plan.json, before the run has read anything.

    Parameters
    ----------
    folder
        A run's folder. A run that has imported its data stays as it is.
    similarity
        The models that a similarity run compares.

    Raises
    ------
    ModelError
        If a model does not exist, or must be downloaded and the hub cannot be reached.
    """
    if (folder / "dataset").exists():
        return
    plan = read_plan(folder)
    changes: dict[str, Plan | SimilarityPlan] = {"plan": _pinned_plan(plan)}
    if similarity is not None:
        names = {name: tuple(map(pinned, getattr(similarity, name))) for name in ("smalls", "targets")}
        changes["similarity"] = similarity.model_copy(update=names)
    if changes not in ({"plan": plan}, {"plan": plan, "similarity": similarity}):
        update_record(Run(folder.name, folder), **changes)


def _pinned_plan(plan: Plan) -> Plan:
    names = {"dataset": pinned_source(plan.dataset)}
    models = {name: getattr(plan, name) for name in ("small", "target")}
    names |= {name: pinned(model) for name, model in models.items() if model != NO_MODEL}
    if plan.apart_from is not None:
        names["apart_from"] = pinned_source(plan.apart_from)
    return plan.but(**names)
