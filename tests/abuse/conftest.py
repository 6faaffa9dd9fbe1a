"""A limit for the run, so that one that hangs shows where."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import hangs  # noqa: E402  needs the path

_RUN_LIMIT_S = 280


def pytest_configure(config):
    """Turns a run that hangs into one that fails, and says where it hung."""
    del config
    hangs.limit(_RUN_LIMIT_S)


def pytest_unconfigure(config):
    del config
    hangs.no_limit()
