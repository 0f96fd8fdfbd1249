"""The heartbeat of a run's process, seen by its writer and by readers with other clocks."""

import os

import pytest

from staff_engine.errors import RunError
from staff_engine.runs.alive import heartbeat
from staff_engine.runs.alive.heartbeat import (
    HEARTBEAT_FILE,
    Heart,
    TakenOver,
    announce,
    look,
    only_heart,
    wait_for_sign,
)
from staff_engine.runs.folders import Run
from staff_engine.system.hosts import this_host
from tests.helpers.fake_worker import wait_for
from tests.helpers.other_host import GPU_07, beat_of


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def run(folder):
    return Run(folder.name, folder)


@pytest.fixture
def clock(monkeypatch):
    """The reader's clock: it shows what the test sets, and waiting sets it forward."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    made = Clock()
    monkeypatch.setattr(heartbeat, "time", made)
    return made


def content(folder):
    return (folder / HEARTBEAT_FILE).read_text()


def test_it_beats_by_itself_in_a_private_file_of_constant_length_and_is_removed(folder, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    (folder / HEARTBEAT_FILE).write_text("x" * 500)
    with only_heart(folder) as heart, heart:
        first = content(folder)
        assert first.startswith(f"{this_host()} {os.getpid()} ") and first.endswith("+00:00\n")
        wait_for(lambda: content(folder) != first)
        assert len(content(folder)) == len(first) and "x" * 10 not in content(folder)
    assert not (folder / HEARTBEAT_FILE).exists()


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_work(folder, monkeypatch, caplog):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    tries = []

    def fail(path, owner):
        tries.append(path)
        raise OSError("no space left")

    with only_heart(folder) as heart:
        monkeypatch.setattr(heartbeat, "_write", fail)
        with heart:
            wait_for(lambda: len(tries) > 2)
    assert [record.message for record in caplog.records] == ["the heartbeat cannot be written: no space left"]


@pytest.mark.parametrize("skew", [-3 * 365 * 86400.0, 0.0, 3 * 365 * 86400.0])
def test_a_slow_heart_is_alive_whatever_the_clocks_say(run, clock, skew):
    def beat(at):
        beat_of(run, f"{GPU_07} 7", at)
        os.utime(run.folder / HEARTBEAT_FILE, (1.8e9 + skew, 1.8e9 + skew))

    beat("2026-01-01")
    assert look(run.folder) == "perhaps"
    clock.now += heartbeat.SILENCE_SECONDS - 1
    assert look(run.folder) == "perhaps"
    for day in range(2, 5):
        beat(f"1999-01-0{day}")  # not even its own clock needs to be right
        assert look(run.folder) == "beats"
        clock.now += heartbeat.SILENCE_SECONDS - 1
        assert look(run.folder) == "beats"


def test_a_silent_heart_is_removed_so_that_nobody_waits_again(run, clock):
    beat_of(run, f"{GPU_07} 7", "2026-01-01")
    assert not wait_for_sign(run.folder)
    assert clock.now == pytest.approx(1000 + heartbeat.SILENCE_SECONDS, abs=1)
    assert not (run.folder / HEARTBEAT_FILE).exists()
    assert not wait_for_sign(run.folder)
    assert clock.now == pytest.approx(1000 + heartbeat.SILENCE_SECONDS, abs=1), "nobody waited"
    beat_of(run, f"{GPU_07} 7", "2026-01-01")
    assert look(run.folder) == "perhaps", "a suspended process that writes again is alive"


def test_a_beat_seen_long_ago_is_no_sign_that_the_process_is_alive_now(run, clock):
    beat_of(run, f"{GPU_07} 7", "2026-01-01")
    look(run.folder)
    clock.now += 3600
    beat_of(run, f"{GPU_07} 7", "2026-01-02")
    assert look(run.folder) == "perhaps", "it changed at any time within the hour"


def test_a_file_that_cannot_be_read_is_silent_in_the_end(run, clock):
    (run.folder / HEARTBEAT_FILE).mkdir()
    assert look(run.folder) == "perhaps"
    assert not wait_for_sign(run.folder)


def test_a_file_that_another_host_removed_is_written_anew_where_a_cache_still_has_it(run, monkeypatch):
    real = os.open

    def cached(path, flags, *rest, **options):
        """As sshfs does it: the name is known, so nothing is created, and the server does not find it."""
        if str(path).endswith(HEARTBEAT_FILE):
            raise FileNotFoundError(path)
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(heartbeat.os, "open", cached)
    with only_heart(run.folder):
        assert content(run.folder).startswith(f"{this_host()} {os.getpid()} ")


def test_the_first_beat_comes_before_the_process(run, clock):
    announce(run.folder)
    assert look(run.folder) == "perhaps"
    with only_heart(run.folder):
        assert wait_for_sign(run.folder)
    assert look(run.folder) == "silent"


def test_a_worker_refuses_a_run_whose_heart_beats_on_another_host(run, clock, monkeypatch):
    beat_of(run, f"{GPU_07} 7", "2026-01-01")

    def sleep(seconds):
        clock.now += seconds
        beat_of(run, f"{GPU_07} 7", str(clock.now))

    clock.sleep = sleep
    refused = pytest.raises(RunError, match=f"process 7 on gpu-07 already works on run {run.id}")
    with refused, only_heart(run.folder):
        raise AssertionError
    assert content(run.folder).startswith(f"{GPU_07} 7 ")


@pytest.mark.parametrize("owner", [f"{GPU_07} 7", f"{GPU_07} 0", f"{this_host()} 7"])
def test_a_worker_takes_over_from_a_silent_one_and_from_whoever_started_it(run, clock, owner):
    beat_of(run, owner, "2026-01-01")
    with only_heart(run.folder):
        assert content(run.folder).startswith(f"{this_host()} {os.getpid()} ")


def test_outside_the_main_thread_the_end_of_the_block_says_that_another_process_took_over(run, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    heart = Heart(run.folder)
    beat_of(run, f"{GPU_07} 7", "2026-01-01")
    heart._go_on(in_main=False)
    with pytest.raises(TakenOver, match=f"run {run.id} was taken over by process 7 on gpu-07"):
        heart.__exit__()
    heart.end()
    assert content(run.folder).startswith(f"{GPU_07} 7 ")
