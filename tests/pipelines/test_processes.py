"""Runs that several processes do together end as those of one: whole, killed, cancelled, on two machines."""

import os
import shutil
import subprocess
import sys

import numpy as np
import psutil
import pytest

from staff_engine.cli import main
from staff_engine.evaluation.report import open_evaluation
from staff_engine.pipelines.similarity.report import open_similarity
from staff_engine.runs import control
from staff_engine.runs.results import open_results
from staff_engine.system.processes import PROJECT_FOLDER
from tests.helpers.killing import DATA, MODELS, wait_for, words

pytestmark = pytest.mark.long

CORESET = {
    **MODELS, **DATA, "batch-size": "4", "tokens-per-batch": "128", "strata": "6", "verify-per-stratum": "2",
    "pruning-rate": "0.8", "tune-target": "12",
}  # fmt: skip
EVALUATION = {"evaluate": None, "method": "random", "held-out-samples": "5", "answers": "0", "seeds": "2"}
SIMILARITY = {**MODELS, **DATA, "sample": "20", "strata": "3"}
TWO = ["--processes", "2"]
SHARED = ("fine-tune", "speculate", "tune target", "verify")
"""Stages in which all processes work."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("processes")
        patch.setenv("STAFF_HOME", str(folder / "home"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(scope="module")
def by_one(home):
    """A run planned for two processes, done by one."""
    return done_by(created(*TWO), 1)


def created(*more):
    assert main.main(["run", *words(CORESET), *more, "--no-start"]) == 0
    return control.find_run("latest")


def done_by(run, processes):
    control.start(run, processes=processes)
    assert wait_for(run, (), 1.0) == "finished"
    return open_results(run.folder)


def assert_same(one, two):
    """Two runs have the same coreset, adapters and scores, bit for bit."""
    assert (one.select().indices == two.select().indices).all()
    for name in ("adapter", "target_adapter"):
        left, right = (each.folder / name / "adapter_model.safetensors" for each in (one, two))
        assert left.read_bytes() == right.read_bytes()
    for part in ("speculative", "verification"):
        left, right = (each.read(part).drop_columns("seconds").sort_by("row_id") for each in (one, two))
        assert left.equals(right)


def workers_of(run):
    """The processes that work on a run, the leader first."""
    found = []
    for each in psutil.process_iter(["cmdline"]):
        command = each.info["cmdline"] or []
        if command[-2:] == ["work", str(run.folder)] and "torch.distributed.run" not in command:
            found.append(each)
    leader = control.read_status(run).pid
    return sorted(found, key=lambda each: each.pid != leader)


def test_two_processes_do_what_one_does(home, by_one):
    two = done_by(created(*TWO, "--out", str(home / "two.jsonl")), 2)
    assert_same(by_one, two)
    assert list((two.folder / "speculative").glob("part-r01-*"))
    assert (home / "two.jsonl").read_text().count("\n") == len(two.select().indices)


def test_a_run_planned_for_one_process_has_the_same_scores_but_for_rounding(by_one):
    one = done_by(created(), 1)
    assert (one.select().indices == by_one.select().indices).all()
    left, right = (each.read("speculative").sort_by("row_id")["effort"].to_numpy() for each in (one, by_one))
    np.testing.assert_allclose(left, right, rtol=1e-4)


def test_a_target_divided_over_the_processes_scores_as_a_whole_one(by_one):
    divided = done_by(created(*TWO, "--shard-target"), 2)
    assert list((divided.folder / "verification").glob("part-r01-*"))
    left, right = (each.read("verification").sort_by("row_id") for each in (by_one, divided))
    assert left["row_id"].equals(right["row_id"])
    np.testing.assert_allclose(left["effort"].to_numpy(), right["effort"].to_numpy(), rtol=1e-6)


def test_a_killed_helper_interrupts_the_run_and_another_number_of_processes_goes_on(by_one):
    run = created(*TWO)
    kills = 0
    for place, processes in ((0, 2), (1, 3), (3, 2)):
        control.start(run, processes=processes)
        if wait_for(run, SHARED[place:], 0.0) == "finished":
            break
        leader, *helpers = workers_of(run)
        helpers[-1].kill()
        psutil.wait_procs([leader, *helpers], timeout=60)
        status = control.read_status(run)
        assert status.state == "interrupted"
        assert "of the run" in status.message
        kills += 1
    assert kills >= 2
    assert_same(by_one, done_by(run, 1))


def test_a_cancelled_run_of_two_processes_stops_and_goes_on(by_one):
    run = created(*TWO)
    control.start(run)
    assert wait_for(run, SHARED[1:], 0.0) == "running"
    workers = workers_of(run)
    assert len(workers) == 2
    assert control.cancel(run).state == "cancelled"
    _, left = psutil.wait_procs(workers, timeout=60)
    assert not left
    assert_same(by_one, done_by(run, 2))


def test_the_processes_divide_the_cells_of_an_evaluation(by_one):
    found = []
    for processes in (1, 2):
        more = ["--method", "kmeans", "--detach"] if processes == 2 else ["--detach"]
        assert main.main(["compare", by_one.folder.name, *words(EVALUATION), *more]) == 0
        run = control.find_run("latest")
        if processes == 2:
            assert len(workers_of(run)) in (0, 2)  # torchrun takes its time
        assert wait_for(run, (), 1.0) == "finished"
        found.append({cell.asked.key: cell.losses for cell in open_evaluation(run.folder).cells})
    assert found[0].items() <= found[1].items()
    assert len(found[1]) > len(found[0]) >= 4


def test_two_processes_measure_the_similarity_that_one_measures(home):
    found = []
    for processes in (1, 2):
        assert main.main(["similarity", *words(SIMILARITY), *TWO, "--detach"]) == 0
        run = control.find_run("latest")
        if processes == 1:
            control.cancel(run)
            control.resume(run, processes=1)
        assert wait_for(run, (), 1.0) == "finished"
        found.append(open_similarity(run.folder))
    one, two = (each.report for each in found)
    assert one == two
    assert list(found[1].folder.glob("models/*/*/part-r01-*"))
    assert not list(found[0].folder.glob("models/*/*/part-r01-*"))


def has_namespaces():
    """Whether this process may make network namespaces and give them names of hosts."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "hostname"))):
        return False
    trial = "ip netns add staff-0 && ip netns exec staff-0 unshare --uts hostname staff-0; code=$?"
    ended = "ip netns del staff-0; exit $code"
    return not subprocess.run(
        ["bash", "-c", f"{trial}; {ended}"], capture_output=True, check=False
    ).returncode


def test_torchrun_on_two_machines_does_what_one_process_does(by_one, home):
    """Two network namespaces with names of their own are two machines."""
    if not has_namespaces():
        pytest.skip("this machine allows no network namespaces")
    run = created(*TWO)
    script = f"""
set -e
trap 'ip netns del staff-1; ip netns del staff-2' EXIT
ip netns add staff-1
ip netns add staff-2
ip link add staff-1 netns staff-1 type veth peer name staff-2 netns staff-2
for side in 1 2; do
    ip -n staff-$side addr add 10.77.0.$side/24 dev staff-$side
    ip -n staff-$side link set staff-$side up
    ip -n staff-$side link set lo up
done
for side in 2 1; do
    GLOO_SOCKET_IFNAME=staff-$side ip netns exec staff-$side unshare --uts sh -c "
        hostname 10.77.0.$side
        exec {sys.executable} -m torch.distributed.run --nnodes 2 --nproc-per-node 1 \\
            --rdzv-backend c10d --rdzv-endpoint 10.77.0.1:29400 --rdzv-id staff \\
            --local-addr 10.77.0.$side -m staff_engine resume {run.id}" &
done
wait %1 && wait %2
"""
    done = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT_FOLDER, capture_output=True, text=True, timeout=300, check=False
    )
    assert control.read_status(run).state == "finished", done.stderr[-3000:]
    assert_same(by_one, open_results(run.folder))
    assert list((run.folder / "speculative").glob("part-r01-*"))
