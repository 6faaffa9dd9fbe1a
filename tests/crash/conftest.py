"""The stubs, before the tests are imported; a limit for the run, and a server's directory."""

import pytest
import stubs

import hangs  # after the stubs, which know where it is

_RUN_LIMIT_S = 3600


def pytest_configure(config):
    """Turns a run that hangs into one that fails, and says where it hung."""
    del config
    hangs.limit(_RUN_LIMIT_S)


def pytest_unconfigure(config):
    hangs.no_limit()
    stubs.conformance.pytest_unconfigure(config)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs is CTest's to end: here it only has to show its stacks before that."""
    del item
    hangs.limit(280, fatal=False)
    yield
    hangs.limit(_RUN_LIMIT_S)
