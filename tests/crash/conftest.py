"""The stubs, before the tests are imported; a limit for the run, and a server's directory."""

import faulthandler

import pytest
import stubs

_RUN_LIMIT_S = 3600


def pytest_configure(config):
    """Turns a run that hangs into one that fails, and says where it hung."""
    del config
    faulthandler.dump_traceback_later(_RUN_LIMIT_S, exit=True)


def pytest_unconfigure(config):
    faulthandler.cancel_dump_traceback_later()
    stubs.conformance.pytest_unconfigure(config)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs is CTest's to end: here it only has to show its stacks before that."""
    del item
    faulthandler.dump_traceback_later(280, exit=False)
    yield
    faulthandler.dump_traceback_later(_RUN_LIMIT_S, exit=True)
