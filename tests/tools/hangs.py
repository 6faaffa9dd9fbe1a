"""Limits for a run of pytest, and for each test: what hangs shows where its threads stand."""

import faulthandler
import functools
import os
import sys


@functools.cache
def _stderr():
    return os.dup(sys.__stderr__.fileno())


def limit(length_s, fatal=True):
    """The limit from now on, in place of the one before. fatal: it ends the run, which has failed.

    pytest_configure sets the first: while a test runs, or a conftest is imported, pytest keeps what
    goes to stderr to itself, and what is shown would be lost with it."""
    faulthandler.dump_traceback_later(length_s, exit=fatal, file=_stderr())


def no_limit():
    faulthandler.cancel_dump_traceback_later()
