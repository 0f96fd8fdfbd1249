"""Form for a new run: data, models, settings, estimated cost, start."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st

from pages.parts.navigation import open_run, page_file
from pages.parts.page import errors, header
from pages.parts.run import plan_field, progress, scores_file
from pages.parts.words import plain, sentence
from staff_engine.brought_scores import NO_MODEL
from staff_engine.cli.command_lines import run_command
from staff_engine.cli.options import PANELS
from staff_engine.data.locating import check_source
from staff_engine.data.sources import shown_source
from staff_engine.errors import StaffError
from staff_engine.models.presets import ModelPair, model_pairs
from staff_engine.models.sources import find_model
from staff_engine.pipelines.forecast import job
from staff_engine.pipelines.forecast.extrapolation import advice
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run, start
from staff_engine.system.team import visible_gpus
from staff_engine.system.words import duration, gigabytes, millions, saved_share

IN_SIGHT = ("pruning_rate", "strata", "verify_per_stratum", "epochs")
DATA_FIELDS = PANELS["Data"]
OWN = "My own"

FOLDED = {
    "Fine-tuning": PANELS["Fine-tuning"],
    "Scoring and device": (
        *(name for name in PANELS["Models"] if name not in ("small", "target", "scores", "score_key")),
        *PANELS["Scoring"],
    ),
    "Selection (can also be changed after the run)": PANELS["Selection"],
}


def show() -> None:
    """The page when no run is selected."""
    header(
        "New run",
        "Choose models and settings, estimate the cost, and start the run. It works in the background.",
    )
    chosen = plan_field.take_up(st.session_state.get("new_plan") or {})
    if not _data(chosen):
        return
    st.subheader("Models", anchor=False)
    from_file = scores_file.is_chosen()
    own = scores_file.choose() if from_file else {}
    if own is None:
        return
    if not from_file:
        _models()
    _gpus()
    _settings(without=_not_asked(own) if from_file else ())
    data = {name: chosen.get(name) for name in DATA_FIELDS if name in chosen}
    settings = {**data, **plan_field.values(), **own}
    plan = _checked(settings)
    if plan is None:
        return
    st.session_state.new_plan = plan_field.put_down(settings)
    if not from_file:
        _cost(plan)
    _start(plan)


def _data(chosen: dict[str, Any]) -> bool:
    st.subheader("Data", anchor=False)
    if not chosen.get("dataset"):
        st.info("No data selected yet.", icon=":material/dataset:")
        with st.container(horizontal=True):
            if st.button("Choose my data", type="primary", key="plan_choose"):
                st.switch_page(page_file("data"))
            if st.button("Use the built-in docstrings", key="plan_builtin"):
                st.session_state.new_plan = {**chosen, "dataset": "builtin:docstrings", "limit": 600}
                st.rerun()
        return False
    words = [plain(shown_source(chosen["dataset"]))]
    if chosen.get("format"):
        words.append(plain(f"read as {chosen['format']}"))
    if chosen.get("prompt_column"):
        words.append(plain(f"{chosen['prompt_column']} → {chosen['response_column']}"))
    if chosen.get("split", "train") != "train":
        words.append(plain(f"split {chosen['split']}"))
    if chosen.get("limit"):
        words.append(f"the first {chosen['limit']:,} rows")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{words[0]}**{''.join(f' · {word}' for word in words[1:])}", width="content")
        if st.button("Change", key="plan_change_data", type="tertiary", icon=":material/edit:"):
            st.switch_page(page_file("data"))
    return True


def _models() -> None:
    known = {_label(pair): pair for pair in model_pairs()}
    names = (st.session_state.plan_small, st.session_state.plan_target)
    fitting = (label for label, pair in known.items() if (pair.small, pair.target) == names)
    st.session_state.plan_preset = next(fitting, OWN)
    st.selectbox(
        "Family",
        [*known, OWN],
        key="plan_preset",
        on_change=_take_pair,
        args=(known,),
        help="Use a small model of the target's family: same architecture and tokenizer.",
    )
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        plan_field.field("small", label="Small model: scores every sample")
    with right:
        plan_field.field("target", label="Target model: the one you will train")
    chosen = known.get(st.session_state.plan_preset)
    if chosen:
        _say_pair(chosen)


def _gpus() -> None:
    """A switch for all GPUs of this machine, if there are several."""
    count = visible_gpus()
    if count < 2:
        return
    st.session_state.plan_all_gpus = st.session_state.plan_processes == count

    def take() -> None:
        st.session_state.plan_processes = count if st.session_state.plan_all_gpus else 1

    st.toggle(
        f"Use all {count} GPUs",
        key="plan_all_gpus",
        on_change=take,
        help="One process per GPU. Scoring and fine-tuning are divided among them.",
    )


def _take_pair(known: dict[str, ModelPair]) -> None:
    pair = known.get(st.session_state.plan_preset)
    if pair:
        st.session_state.plan_small, st.session_state.plan_target = pair.small, pair.target


def _label(pair: ModelPair) -> str:
    return f"{pair.family}: {pair.small} → {pair.target}"


def _say_pair(pair: ModelPair) -> None:
    sizes = (millions(pair.small_parameters), millions(pair.target_parameters))
    words = [f"{' and '.join(sizes)} parameters", f"{pair.context:,} tokens of context", pair.license]
    if pair.gated:
        words.append("the hub asks you to accept its licence first")
    if pair.note:
        words.append(pair.note)
    st.caption(" · ".join(words))


def _not_asked(own: dict[str, Any]) -> tuple[str, ...]:
    """The settings that have no effect on a run with scores of a file, or that it has its own widget for."""
    of_models = (*FOLDED["Fine-tuning"], *FOLDED["Scoring and device"], "verify_per_stratum", "adaptive")
    without_target = of_models if own.get("target") == NO_MODEL else ()
    return (*own, "epochs", "score", "drop_by", "within", *without_target)


def _settings(without: Collection[str]) -> None:
    st.subheader("Settings", anchor=False)
    with st.grid(4, min_column_width=170, vertical_alignment="bottom"):
        for name in IN_SIGHT:
            if name not in without:
                plan_field.field(name)
    for title, names in FOLDED.items():
        asked = [name for name in names if name not in (*IN_SIGHT, *without)]
        if not asked:
            continue
        with st.expander(title), st.grid(3, min_column_width=220, vertical_alignment="bottom"):
            for name in asked:
                plan_field.field(name)


def _checked(settings: dict[str, Any]) -> Plan | None:
    """The plan, or None after showing an error."""
    try:
        plan = Plan.make(**settings)
        check_source(plan.dataset, plan.split)
        for model in plan.models:
            if model.startswith(("builtin:", "/", ".", "~")):
                find_model(model)
    except StaffError as error:
        st.error(sentence(error))
        return None
    return plan


def _cost(plan: Plan) -> None:
    st.subheader("Estimated cost", anchor=False)
    with errors():
        key = job.key_of(plan)
    forecast = job.read_forecast(key, plan)
    if forecast is None or forecast.state == "failed":
        if forecast is not None:
            st.warning(f"The forecast failed: {plain(forecast.message)}")
        st.caption("A forecast measures a few batches of your data with both models on this machine.")
        if st.button("Make a forecast", icon=":material/speed:", key="plan_forecast"):
            with errors():
                job.start_forecast(plan, again=True)
            st.rerun()
        return
    st.fragment(_forecast, run_every=1.0 if forecast.state == "measuring" else None)(key, plan)


def _forecast(key: str, plan: Plan) -> None:
    forecast = job.read_forecast(key, plan)
    if forecast is None or forecast.state == "failed":
        st.rerun()
    if forecast.state == "measuring":
        st.info("Measuring a few batches with both models …", icon=":material/hourglass_top:")
        return
    with st.grid(4, min_column_width=160):
        st.metric("Time", duration(forecast.total_seconds))
        st.metric("Memory", gigabytes(forecast.memory_bytes), help="Peak memory of the run's process.")
        st.metric(
            "Verified, at most",
            f"{forecast.verified_at_most:,} of {forecast.samples:,}" if forecast.samples else "–",
            help="K times b_v, or all samples except the hardest dropped, if these are fewer.",
        )
        st.metric(
            "Time saved",
            saved_share(forecast.share_saved),
            help="Compared with scoring every sample on the target.",
        )
    stages = " · ".join(
        f"{progress.stage_name(name)}: {duration(seconds)}" for name, seconds in forecast.stages.items()
    )
    st.caption(stages)
    if forecast.message:
        st.caption(f":material/info: {plain(forecast.message)}")
    lacking = advice(plan, forecast)
    if lacking:
        st.warning(plain(lacking), icon=":material/lightbulb:")


def _start(plan: Plan) -> None:
    st.subheader("Start", anchor=False)
    name = st.text_input("Run name", key="plan_name", max_chars=80, placeholder="automatic")
    if st.button("Start the run", type="primary", icon=":material/play_arrow:", key="plan_start"):
        with errors():
            run = create_run(plan, name=name.strip() or None)
            if plan.scores is None:
                job.stop_forecast(job.key_of(plan))
                job.keep_forecast(run)
            start(run)
        open_run(run.id)
    st.caption("The same as a command:")
    st.code(run_command(plan, name=name.strip()), language="bash", wrap_lines=True)
