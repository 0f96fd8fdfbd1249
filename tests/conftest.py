"""Fixtures that tests of several rooms share."""

import pytest


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A data file and two tiny models, once for each module of tests."""
    from tests.helpers.tiny_run import make_sources

    return make_sources(tmp_path_factory.mktemp("sources"))
