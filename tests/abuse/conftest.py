"""A limit for the run, so that one that hangs shows where."""

import faulthandler

_RUN_LIMIT_S = 280


def pytest_configure(config):
    """Turns a run that hangs into one that fails, and says where it hung."""
    del config
    faulthandler.dump_traceback_later(_RUN_LIMIT_S, exit=True)


def pytest_unconfigure(config):
    del config
    faulthandler.cancel_dump_traceback_later()
