"""The processes of a run: how work is dealt, counted, stopped, and how one learns that another has failed."""

import errno
import os
import pickle
import threading
import weakref

import pytest

from staff_engine.errors import PlanError, RunError
from staff_engine.system import calls, signing, team


@pytest.fixture
def two(monkeypatch):
    """This process as the leader of two, with a helper that has joined and is alive."""
    joined = team.Team(0, 2, team.OwnStore())
    monkeypatch.setattr(team, "_team", joined)
    monkeypatch.setattr(calls, "POLL", 0.001)
    started = team.start_time(os.getpid())
    member = f'{{"host": "{team.this_host()}", "pid": {os.getpid()}, "started": {started}}}'
    joined.store.set("member/1", member)
    return joined.store


def helper(store, work):
    """Start a thread that does the helper's part of the next step."""
    call = calls.Call(0, store)
    thread = threading.Thread(target=work, args=(call,))
    thread.start()
    return thread


def unused(call):
    raise AssertionError("the leader does its own part in the block")


def test_a_step_in_one_process_is_its_block():
    seen = []
    with calls.shared(unused, on_progress=seen.append) as call:
        assert list(call.deal(3)) == [0, 1, 2] and call.counted() == 0
    assert seen == [] and (team.rank(), team.size()) == (0, 1)


def test_every_number_is_dealt_once(two):
    taken = {"helper": [], "leader": []}

    def work(call):
        taken["helper"] += call.deal(200)
        call.leave()

    with calls.shared(unused, on_progress=lambda count: None) as call:
        thread = helper(two, work)
        taken["leader"] += call.deal(200)
        thread.join()
    assert sorted(taken["helper"] + taken["leader"]) == list(range(200))


def test_the_leader_waits_for_the_helpers_and_counts_what_they_do(two):
    counts = []

    def work(call):
        for _ in range(5):
            call.count(7)
        call.leave()

    with calls.shared(unused, on_progress=counts.append):
        thread = helper(two, work)
    thread.join()
    assert sum(counts) == 35


def test_an_error_of_the_leader_stops_the_helpers_before_it_goes_on(two):
    ended = []

    def work(call):
        with pytest.raises(calls.Stopped):
            while True:
                call.count(1)
        ended.append(True)
        call.leave()

    with pytest.raises(KeyError), calls.shared(unused, on_progress=lambda count: None):
        thread = helper(two, work)
        raise KeyError
    assert ended == [True]
    thread.join()


@pytest.mark.parametrize(
    ("failure", "raised", "words"),
    [
        (PlanError("lower max_length"), RunError, "failed: lower max_length"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            RunError,
            "failed: no space left in .* free some space",
        ),
        (ValueError("a fault"), calls.HelperFailed, "failed: ValueError: a fault"),
    ],
)
def test_the_failure_of_a_helper_reaches_the_leader_with_its_reason(two, monkeypatch, failure, raised, words):
    def work(call):
        calls._report_failure(failure)

    with pytest.raises(raised, match=words), calls.shared(unused, on_progress=lambda count: None):
        monkeypatch.setattr(team._team, "rank", 1)
        helper(two, work).join()
        monkeypatch.setattr(team._team, "rank", 0)


@pytest.mark.parametrize(
    ("failure", "raised", "words"),
    [
        (PlanError("lower tokens_per_batch"), RunError, "failed: lower tokens_per_batch"),
        (None, team.Lost, "process 1 of the run .* is gone"),
    ],
)
def test_a_broken_collective_step_says_why_the_helper_left(two, monkeypatch, failure, raised, words):
    with (
        pytest.raises(raised, match=words),
        calls.shared(unused, on_progress=lambda count: None, collective=True),
    ):
        if failure is None:
            two.set("member/1", f'{{"host": "{team.this_host()}", "pid": 999999999, "started": 1.0}}')
        else:
            monkeypatch.setattr(team._team, "rank", 1)
            calls._report_failure(failure)
        raise RuntimeError("Connection closed by peer")


def test_an_error_of_the_leader_in_a_collective_step_stays_its_own(two, monkeypatch):
    monkeypatch.setattr(calls, "END_SECONDS", 0.01)
    with (
        pytest.raises(RuntimeError, match="a fault"),
        calls.shared(unused, on_progress=lambda count: None, collective=True),
    ):
        raise RuntimeError("a fault")


def test_a_helper_without_a_sign_of_life_is_lost(two, monkeypatch):
    monkeypatch.setattr(calls, "LOST_SECONDS", 0.02)
    monkeypatch.setattr(calls, "STOP_SECONDS", 0.02)
    with (
        pytest.raises(team.Lost, match=r"process 1 of the run .* has not answered"),
        calls.shared(unused, on_progress=lambda count: None),
    ):
        pass


@pytest.fixture
def silent_leader(two, monkeypatch):
    """This process as the helper of a leader that has joined and gives no sign of life any more."""
    two.set("member/0", two.get("member/1"))
    monkeypatch.setattr(team._team, "rank", 1)
    monkeypatch.setattr(calls, "LOST_SECONDS", 0.02)
    return two


def test_a_helper_that_waits_notices_that_its_leader_is_lost(silent_leader):
    with pytest.raises(team.Lost, match=r"process 0 of the run .* has not answered"):
        calls.follow()


def test_a_helper_that_works_notices_that_its_leader_is_lost(silent_leader):
    call = calls.Call(0, silent_leader)
    with pytest.raises(team.Lost, match=r"process 0 of the run .* has not answered"):
        while True:
            call.count(1)


def send(store, place, message):
    """Leave a message as the leader does."""
    store.set(place, signing.signed(signing.own_key(), place, message))


MADE = []


class Large:
    """Refers to itself, as models do: only the garbage collector frees it."""

    def __init__(self):
        self.itself = self

    def __setstate__(self, state):
        vars(self).update(state)
        MADE.append(weakref.ref(self))


def keep(call, *arguments):
    """A step that leaves its arguments to the garbage collector."""


def test_a_helper_frees_what_a_step_used_before_it_leaves_the_step(two, monkeypatch):
    left = []
    monkeypatch.setattr(calls.Call, "leave", lambda call: left.append(MADE[-1]() is None))
    send(two, "call/0", pickle.dumps((keep, (Large(),), [])))
    send(two, "call/1", calls.NO_CALL)
    calls.follow()
    assert left == [True]


CARRIED_OUT = []


def carry_out(call):
    CARRIED_OUT.append(call)


def test_a_message_that_the_leader_has_not_signed_is_not_opened(two):
    CARRIED_OUT.clear()
    two.set("member/0", two.get("member/1"))
    message = pickle.dumps((carry_out, (), []))
    forged = signing.signed(b"another key" * 3, "call/0", message)
    for sent in (message, forged, signing.signed(signing.own_key(), "call/1", message)):
        two.set("call/0", sent)
        with pytest.raises(RunError, match="'call/0' does not come from the first process"):
            calls.follow()
    assert CARRIED_OUT == [] and "does not come from the first process" in str(calls.failure())
    send(two, "call/0", message)
    send(two, "call/1", calls.NO_CALL)
    calls.follow()
    assert len(CARRIED_OUT) == 1


def test_the_leader_signs_its_messages(two):
    with calls.shared(carry_out, on_progress=lambda count: None) as call:
        call.leave()
    calls.leave()
    key = signing.leaders_key()
    work, arguments, files = pickle.loads(signing.checked(key, "call/0", two.get("call/0")))
    assert (work, arguments, files) == (carry_out, (), [])
    assert signing.checked(key, "call/1", two.get("call/1")) == calls.NO_CALL


def test_a_process_that_has_ended_is_named(two):
    assert team.gone() is None
    two.set("member/1", f'{{"host": "{team.this_host()}", "pid": 999999999, "started": 1.0}}')
    assert team.gone().startswith("process 1 of the run (999999999 on ")
    two.set("member/1", '{"host": "elsewhere", "pid": 999999999, "started": 1.0}')
    assert team.gone() is None  # nothing is known of a process on another machine


def test_a_helper_waits_until_it_sees_the_files_of_the_leader(tmp_path, monkeypatch):
    monkeypatch.setattr(calls, "POLL", 0.001)
    path = tmp_path / "tokens"
    path.write_text("new")
    mark = calls._mark(path)
    path.unlink()
    threading.Timer(0.05, lambda: (path.write_text("new"), os.utime(path, ns=(mark[1], mark[1])))).start()
    calls._wait_for([(path, mark)])
    assert path.read_text() == "new"


def test_a_helper_that_never_sees_a_file_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(calls, "LATE_SECONDS", 0.01)
    with pytest.raises(RunError, match="all processes need the same STAFF_HOME"):
        calls._wait_for([(tmp_path / "tokens", (3, 1))])


@pytest.mark.parametrize(
    ("visible", "number", "gpus", "own"),
    [
        ("4,5", 1, 2, "5"),
        ("4,5", 2, 2, "4"),
        (None, 3, 8, "3"),
        (None, 3, 2, "1"),
        (None, 1, 0, "1"),
        ("", 1, 0, ""),
        ("GPU-8932f937", 0, 1, "GPU-8932f937"),
    ],
)
def test_each_process_sees_its_own_gpu(visible, number, gpus, own):
    assert team.own_gpu(visible, number, gpus) == own


def test_a_trainer_does_not_see_the_launcher_nor_the_configuration_of_accelerate(monkeypatch):
    hidden = {"RANK": "1", "LOCAL_RANK": "1", "PMI_SIZE": "2", "ACCELERATE_MIXED_PRECISION": "bf16"}
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    team.hide_launcher()
    assert not hidden.keys() & os.environ.keys()
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((3, 5_000_000_007), (3, 5_000_000_007), True),
        ((3, 5_000_000_007), (3, 5_000_000_008), False),
        ((3, 5_000_000_007), (3, 5_000_000_000), True),  # a file system that rounds to seconds
        ((3, 5_000_000_007), (3, 6_000_000_000), False),
        ((3, 5_000_000_007), (4, 5_000_000_007), False),
        ((3, 5_000_000_007), None, False),
        (None, None, True),
    ],
)
def test_versions_of_a_file_differ_by_size_or_time(one, other, same):
    assert calls._same(one, other) is calls._same(other, one) is same
