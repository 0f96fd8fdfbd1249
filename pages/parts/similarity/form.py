"""Form for a similarity run: data, models, samples, the equivalent command, start."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.parts.navigation import choose_family
from pages.parts.page import errors
from pages.parts.run import plan_field
from pages.parts.words import sentence
from staff_engine.cli.command_lines import similarity_command
from staff_engine.data.builtin.tasks import PREFIX, TASKS
from staff_engine.data.locating import check_source
from staff_engine.errors import StaffError
from staff_engine.models.presets import SIZES, model_pairs
from staff_engine.models.sources import builtin_models, find_model
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run, start
from staff_engine.similarity_plan import SimilarityPlan

HOW_READ = ("format", "prompt_column", "response_column", "split")
"""Settings of the Data page that apply only to its data set."""

BUILTIN_DATA = {f"{PREFIX}{task.name}": task for task in TASKS.values()}

KEYS = {
    "dataset": "family_new_dataset",
    "limit": "family_new_limit",
    "smalls": "family_new_smalls",
    "targets": "family_new_targets",
    "sample": "family_new_sample",
    "tune_target": "family_new_tune_target",
    "epochs": "family_new_epochs",
    "name": "family_new_name",
}


def take_up(plan: Plan, similarity: SimilarityPlan) -> None:
    """Fill the form with the settings of a run; call it in a callback."""
    settings = {**plan.model_dump(), **similarity.model_dump()}
    for name, key in KEYS.items():
        if name in settings:
            value = settings[name]
            st.session_state[key] = list(value) if isinstance(value, tuple) else value


def show() -> None:
    """The form, its command and its start button."""
    _fill_in()
    _data()
    _models()
    _numbers()
    name = st.text_input(
        "Name", key=KEYS["name"], max_chars=80, placeholder="automatic", persist_state="session"
    )
    made = _checked()
    if made is None:
        return
    plan, similarity = made
    st.caption(
        "Each small model is fine-tuned on all rows, as in a run. Then every model scores the same samples,"
        " both untouched and fine-tuned. All other settings have their defaults."
    )
    if st.button(
        "Start the similarity run", type="primary", icon=":material/play_arrow:", key="family_start"
    ):
        _start(plan, similarity, name.strip())
    st.caption("The same as a command. The command line has more settings:")
    st.code(similarity_command(plan, similarity, name=name.strip()), language="bash", wrap_lines=True)


def _fill_in() -> None:
    """Set the initial values: the data of the Data page, and the built-in models."""
    smalls = [f"{PREFIX}{name}" for name in builtin_models() if name.endswith(SIZES[0])]
    targets = [plan_field.DEFAULT_MODELS["target"]]
    data = _data_page() or {"dataset": next(iter(BUILTIN_DATA)), "limit": 600}
    defaults = {
        "dataset": data["dataset"], "limit": data.get("limit"), "smalls": smalls, "targets": targets,
        "sample": SimilarityPlan.model_fields["sample"].default,
        **{name: Plan.model_fields[name].default for name in ("tune_target", "epochs")},
    }  # fmt: skip
    for name, default in defaults.items():
        st.session_state.setdefault(KEYS[name], default)


def _data_page() -> dict[str, Any]:
    """The settings of the data chosen on the Data page; empty if none is chosen."""
    plan = st.session_state.get("new_plan") or {}
    return plan if plan.get("dataset") else {}


def _data() -> None:
    left, right = st.columns([3, 1])
    chosen = st.session_state[KEYS["dataset"]]
    with left:
        st.selectbox(
            "Data set",
            _with([*BUILTIN_DATA], [chosen]),
            key=KEYS["dataset"],
            accept_new_options=True,
            help=Plan.model_fields["dataset"].description,
            persist_state="session",
        )
    with right:
        _number("limit", "Rows to use")
    chosen = st.session_state[KEYS["dataset"]]
    if chosen in BUILTIN_DATA:
        st.caption(BUILTIN_DATA[chosen].sentence)
    elif _data_page().get("dataset") == chosen:
        st.caption("Read as on the Data page.")


def _models() -> None:
    built_in = [f"{PREFIX}{name}" for name in builtin_models()]
    left, right = st.columns(2)
    for column, name, label, offered in (
        (left, "smalls", "Small models", [pair.small for pair in model_pairs()]),
        (right, "targets", "Targets", [pair.target for pair in model_pairs()]),
    ):
        with column:
            st.multiselect(
                label,
                _with([*built_in, *offered], st.session_state[KEYS[name]]),
                key=KEYS[name],
                accept_new_options=True,
                placeholder="Choose, or type a hub name, folder or .gguf file",
                help=SimilarityPlan.model_fields[name].description,
                persist_state="session",
            )


def _numbers() -> None:
    with st.grid(3, min_column_width=170, vertical_alignment="bottom"):
        _number("sample", "Samples to score", SimilarityPlan)
        _number("tune_target", "Tune the target on (samples)")
        _number("epochs", "Epochs")


def _number(name: str, label: str, plan: type[Plan | SimilarityPlan] = Plan) -> None:
    st.number_input(
        label,
        **plan_field.bounds(name, plan),
        step=1,
        key=KEYS[name],
        placeholder="all",
        help=plan.model_fields[name].description,
        persist_state="session",
    )


def _with(offered: list[str], chosen: list[str]) -> list[str]:
    """The offered options and the typed ones."""
    return list(dict.fromkeys([*offered, *chosen]))


def _checked() -> tuple[Plan, SimilarityPlan] | None:
    """The plans, or None after showing an error."""
    values = {name: st.session_state[key] for name, key in KEYS.items()}
    for name, what in (("smalls", "small model"), ("targets", "target")):
        if not values[name]:
            st.info(f"Choose a {what}.", icon=":material/left_click:")
            return None
    data = _data_page()
    read = (
        {name: data[name] for name in HOW_READ if name in data}
        if data.get("dataset") == values["dataset"]
        else {}
    )
    try:
        similarity = SimilarityPlan.make(
            smalls=tuple(values["smalls"]), targets=tuple(values["targets"]), sample=values["sample"]
        )
        plan = Plan.make(
            **read, small=values["smalls"][0], target=values["targets"][0],
            **{name: values[name] for name in ("dataset", "limit", "tune_target", "epochs")},
        )  # fmt: skip
        check_source(plan.dataset, plan.split)
        for model in (*similarity.smalls, *similarity.targets):
            if model.startswith(("builtin:", "/", ".", "~")):  # others are looked up at the start
                find_model(model)
    except StaffError as error:
        st.error(sentence(error))
        return None
    return plan, similarity


def _start(plan: Plan, similarity: SimilarityPlan, name: str) -> None:
    with errors():
        for model in (*similarity.smalls, *similarity.targets):
            find_model(model)
        run = create_run(plan, name=name or None, similarity=similarity)
        start(run)
    choose_family(run.id)
    st.rerun()
