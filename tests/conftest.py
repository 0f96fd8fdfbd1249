"""Fixtures that tests of several rooms share."""

import pytest


def pytest_collection_modifyitems(items):
    """Skip the tests that need more GPUs than this machine has."""
    needed = [(item, item.get_closest_marker("gpu")) for item in items]
    needed = [(item, marker.args[0]) for item, marker in needed if marker is not None]
    if needed:
        import torch

        there = torch.cuda.device_count()
        for item, count in needed:
            if count > there:
                item.add_marker(pytest.mark.skip(reason=f"needs {count} GPUs, and this machine has {there}"))


@pytest.fixture(scope="session", autouse=True)
def _no_home_of_a_user(tmp_path_factory):
    """Keep tests that set no home of their own out of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAFF_HOME", str(tmp_path_factory.mktemp("no-home")))
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A data file and two tiny models, once for each module of tests."""
    from tests.helpers.tiny_run import make_sources

    return make_sources(tmp_path_factory.mktemp("sources"))
