"""The measured page of similarity: what is measured again replaces what was, and the rest stays."""

from benchmarks import similarity


def pair(value, *, held=None, tuned_on=0, small="builtin:llama-nano"):
    estimate = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {
        "target": "builtin:llama-mini", "tuned_on": tuned_on, "small": small, "score": "effort, all",
        "spearman": estimate, "held": None if held is None else {**estimate, "value": held}, "trust": "low",
    }  # fmt: skip


def task(*pairs, day, run="few"):
    return {"pairs": list(pairs), "lengths": [day], "seconds": {run: {"compare": 1.0}}, "days": {run: day}}


def test_results_of_the_runs_that_are_not_made_again_stay():
    before = task(pair(0.5), pair(0.8, tuned_on=600), day="old", run="all")
    before["days"]["few"] = "old"
    now = similarity.updated(before, task(pair(0.6, held=0.1), day="new"))
    assert [(each["tuned_on"], each["spearman"]["value"], each["held"] is None) for each in now["pairs"]] == [
        (0, 0.6, False), (600, 0.8, True),
    ]  # fmt: skip
    assert now["days"] == {"all": "old", "few": "new"}
    assert now["lengths"] == ["old"]  # those of the run with the targets tuned on all rows
    assert similarity.updated(before, task(pair(0.6), day="new", run="all"))["lengths"] == ["new"]


def test_a_correlation_that_was_not_measured_is_a_dash_in_cells_and_means():
    nine = [
        {**pair(0.5, held=None if index else 0.2, small=small), "target": target}
        for index, (target, small) in enumerate(
            (target, small) for target in similarity.TARGETS for small in similarity.SMALLS
        )
    ]
    content = {"tasks": {"chat": {"pairs": nine}}}
    cells = [
        similarity._cell(content, "chat", similarity.TARGETS[0], 0, small, "effort, all")
        for small in similarity.SMALLS[:2]
    ]
    assert cells == ["**0.20 (0.40 to 0.60), plain 0.50 (0.40 to 0.60)**", "–, plain 0.50 (0.40 to 0.60)"]
    assert similarity._short(content, "chat", 0, "effort, all")[3:] == ("– (0.50)", "– (0.50)", "– (1 of 3)")
