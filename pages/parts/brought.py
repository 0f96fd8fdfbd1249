"""What every page says of a run whose scores are from a file: there is no small model."""

from __future__ import annotations

import streamlit as st

from pages.parts.words import plain
from staff_engine.brought_scores import NO_MODEL, OWN
from staff_engine.data.sources import shown_file
from staff_engine.plan import Plan


def say(plan: Plan) -> None:
    """Say what takes the place of the small model, and what the run does not have; else nothing."""
    if plan.scores is None:
        return
    target = " There is no target either, so no sample is verified." if plan.target == NO_MODEL else ""
    st.info(
        f"The scores of this run are from {plain(shown_file(plan.scores))}. It has no small model: where a"
        f" page says small model, it shows {plain(plan.score.removeprefix(OWN))}. Effort, loss, embeddings"
        f" and the loss of each token are not known.{target}",
        icon=":material/upload_file:",
    )
