"""Runs on GPUs: the same scores as on the processor, one process per GPU, a target divided over them."""

import numpy as np
import pytest

from staff_engine.cli import main
from staff_engine.runs import control
from staff_engine.runs.results import open_results
from tests.helpers.killing import DATA, MODELS, words

SETTINGS = {**MODELS, **DATA, "strata": "6", "verify-per-stratum": "2", "pruning-rate": "0.8"}
DIVIDED = {"device": "cuda", "processes": "2", "tune-target": "12"}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAFF_HOME", str(tmp_path_factory.mktemp("gpu")))
        yield


def done(**changes):
    assert main.main(["run", *words({**SETTINGS, **changes})]) == 0
    return open_results(control.find_run("latest").folder)


def efforts(results, part="speculative"):
    return results.read(part).sort_by("row_id")["effort"].to_numpy()


@pytest.fixture(scope="module")
def on_one_gpu(home):
    """A run planned for two processes, done by one."""
    settings = {**SETTINGS, **DIVIDED}
    assert main.main(["run", *words(settings), "--no-start"]) == 0
    run = control.find_run("latest")
    assert main.main(["resume", run.id, "--processes", "1"]) == 0
    return open_results(run.folder)


@pytest.mark.gpu(1)
def test_an_untouched_target_has_the_efforts_of_the_processor():
    on_gpu, on_cpu = (done(device=device, epochs="1") for device in ("cuda", "cpu"))
    known = np.intersect1d(on_gpu.verified_ids, on_cpu.verified_ids)
    assert len(known)
    left, right = (
        each.read("verification").to_pandas().set_index("row_id").effort[known] for each in (on_gpu, on_cpu)
    )
    np.testing.assert_allclose(left, right, rtol=1e-3)


@pytest.mark.gpu(1)
def test_bfloat16_ranks_samples_as_float32():
    half, whole = (efforts(done(device="cuda", dtype=dtype)) for dtype in ("bfloat16", "float32"))
    assert np.corrcoef(np.argsort(np.argsort(half)), np.argsort(np.argsort(whole)))[0, 1] > 0.95


@pytest.mark.gpu(2)
@pytest.mark.parametrize("shard", [False, True])
def test_two_gpus_do_what_one_does(on_one_gpu, shard):
    two = done(**DIVIDED, **({"shard-target": None} if shard else {}))
    np.testing.assert_allclose(efforts(two), efforts(on_one_gpu), rtol=1e-4)
    np.testing.assert_allclose(efforts(two, "verification"), efforts(on_one_gpu, "verification"), rtol=1e-4)
