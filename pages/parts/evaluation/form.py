"""Form for a new evaluation of a run's coresets, or an addition to one: methods, rates, seeds, start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from pages.parts.evaluation import pilot
from pages.parts.navigation import show_evaluation
from pages.parts.page import errors
from pages.parts.run import plan_field
from pages.parts.run.names import run_names
from pages.parts.words import sentence
from staff_engine.cli.command_lines import evaluate_command
from staff_engine.cli.tables.evaluation import estimate_words
from staff_engine.data.builtin.tasks import is_task
from staff_engine.errors import StaffError
from staff_engine.evaluation import planning
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.folders import Run
from staff_engine.runs.kinds import Kind
from staff_engine.runs.results import Results
from staff_engine.selection.baselines.ccs import CCS_STRATA
from staff_engine.selection.methods import METHODS, OWN, labels_where
from staff_engine.system.words import percent

RATES = (0.2, 0.5, 0.7, 0.8, 0.9, 0.95)
BUDGETS = ("epochs", "steps", "both")
NEW, ADD = "New evaluation", "Add to this evaluation"


def show(results: Results, known: Run | None) -> None:
    """The form, the estimated time, and the equivalent command."""
    source = Run(results.folder.name, results.folder)
    adds = known is not None and st.segmented_control(
        "What to do", [ADD, NEW], default=ADD, required=True, key="evaluate_what",
        label_visibility="collapsed",
    ) == ADD  # fmt: skip
    run = known if adds else None
    settings = _settings(results, run)
    if run is None and "held_out" not in settings and not is_task(results.plan.dataset):
        st.info(
            "This data has no held-out split. Enter a file of held-out samples, in any supported format.",
            icon=":material/upload_file:",
        )
        return
    try:
        if run is None:
            plan, evaluation = planning.plan_evaluation(source, **settings)
        else:
            plan, evaluation = control.read_record(run).plan, planning.extended(run, **settings)
        estimate = planning.estimate_of(plan, evaluation, run, source=results)
    except StaffError as error:
        st.error(sentence(error))
        return
    st.caption(sentence(estimate_words(estimate)))
    if st.button("Start", type="primary", icon=":material/play_arrow:", key="evaluate_start"):
        _start(plan, evaluation, run)
    st.caption("The same as a command. The command line has more settings:")
    st.code(evaluate_command((run or source).id, settings), language="bash", wrap_lines=True)
    if run is None:
        pilot.show(results, settings.get("held_out"))


def _settings(results: Results, run: Run | None) -> dict[str, Any]:
    """The values of the widgets, as `planning` takes them; they start with the values of the shown run."""
    known = control.read_record(run).evaluation if run else None
    suffix = f"_{run.id}" if run else ""
    methods = st.pills(
        "Methods", list(METHODS), selection_mode="multi", default=[OWN, "random"],
        format_func=lambda name: METHODS[name].label, key="evaluate_methods",
    )  # fmt: skip
    also = _also(results, known.also if known else {}, suffix)
    own = results.plan.pruning_rate
    rates = st.pills(
        "Pruning rates", sorted({*RATES, own}), selection_mode="multi", default=[own],
        format_func=percent, key="evaluate_rates",
    )  # fmt: skip
    with st.grid(3, min_column_width=170, vertical_alignment="bottom"):
        seeds = _number("seeds", "Seeds", known.seeds if known else None, suffix)
        budget = st.selectbox(
            "Equal budget", BUDGETS, key=f"evaluate_budget{suffix}",
            index=BUDGETS.index(known.budget) if known else 0,
            help=EvaluationPlan.model_fields["budget"].description,
        )  # fmt: skip
        scores = None if run else st.selectbox(
            "Other methods use the scores of", ["small", "target"], key="evaluate_scores",
            help=EvaluationPlan.model_fields["baseline_scores"].description,
        )  # fmt: skip
    settings: dict[str, Any] = {
        "methods": tuple(methods) or None, "pruning_rates": tuple(rates) or None, "seeds": seeds,
        "budget": budget, "baseline_scores": scores, "also": also,
        **_of_baselines(methods, known, suffix),
    }  # fmt: skip
    if run is None:
        settings["held_out"] = _held_out(results.plan)
        with st.grid(3, min_column_width=170, vertical_alignment="bottom"):
            settings["held_out_samples"] = _number("held_out_samples", "Held-out samples")
            settings["answers"] = _number("answers", "Answers")
    return {name: value for name, value in settings.items() if value is not None}


def _of_baselines(methods: list[str], known: EvaluationPlan | None, suffix: str) -> dict[str, Any]:
    """The settings of the chosen baselines; an empty field uses the default."""
    offered: list[tuple[str, str, str, dict[str, Any]]] = []
    if any(METHODS[name].cuts for name in methods):
        label = f"β of {labels_where(lambda method: method.cuts)}"
        offered.append(("beta", label, "as the run", {"step": 0.05, "format": "%.6g"}))
    if any(METHODS[name].stratifies for name in methods):
        label = f"K of {labels_where(lambda method: method.stratifies)}"
        offered.append(("baseline_strata", label, str(CCS_STRATA), {"step": 1}))
    if not offered:
        return {}
    with st.grid(3, min_column_width=170, vertical_alignment="bottom"):
        return {
            name: st.number_input(
                label,
                **plan_field.bounds(name, EvaluationPlan),
                value=getattr(known, name, None),
                placeholder=placeholder,
                key=f"evaluate_{name}{suffix}",
                help=EvaluationPlan.model_fields[name].description,
                **how,
            )
            for name, label, placeholder, how in offered
        }


def _also(results: Results, known: dict[str, str], suffix: str) -> dict[str, str] | None:
    """Further runs whose coresets are included, as `planning` takes them; not shown if there are none."""
    offered = planning.runs_beside(Run(results.folder.name, results.folder), known)
    if not offered:
        return None
    names = run_names((Kind.CORESET,))
    chosen = st.multiselect(
        "Also the coresets of", list(offered), key=f"evaluate_also{suffix}", placeholder="other runs",
        format_func=lambda label: names.get(Path(offered[label]).name, label),
        help="Finished runs on the same data, for example with a tuned target or another small model.",
    )  # fmt: skip
    return {label: offered[label] for label in chosen} or None


def _held_out(plan: Plan) -> str | None:
    path = st.text_input(
        "File of held-out samples", key="evaluate_held_out",
        placeholder="the task's own" if is_task(plan.dataset) else "path of a file",
        help=EvaluationPlan.model_fields["held_out"].description,
    )  # fmt: skip
    return path.strip() or None


def _number(name: str, label: str, value: int | None = None, suffix: str = "") -> int:
    field = EvaluationPlan.model_fields[name]
    return st.number_input(
        label, **plan_field.bounds(name, EvaluationPlan), value=value or field.default, step=1,
        key=f"evaluate_{name}{suffix}", help=field.description,
    )  # fmt: skip


def _start(plan: Plan, evaluation: EvaluationPlan, run: Run | None) -> None:
    with errors():
        if run is None:
            run = planning.create(plan, evaluation)
        else:
            planning.add_to(run, evaluation)
        control.start(run)
    show_evaluation(run.id)
    st.rerun()
