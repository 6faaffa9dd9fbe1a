"""Each attack, small, on each listener that has to withstand it: waitd lives, stays within its memory,
and a good client's outcomes are what they ever were. Latencies are not judged."""

import os
import pathlib

import pytest
from abuse import SCENARIOS, carry_out
from listeners import LISTENERS, all_files

BEFORE_S, SECONDS = 0.2, 1


@pytest.fixture(scope="module", params=LISTENERS)
def listener(request):
    """One for all attacks, one after the other."""
    all_files()
    binary = pathlib.Path(os.environ["WAITD_BIN_DIR"]) / "waitd"
    with LISTENERS[request.param](str(binary)) as one:
        yield one


@pytest.mark.parametrize("name", SCENARIOS)
def test_withstands(listener, name):
    scenario = SCENARIOS[name]
    if listener.name in scenario.held:
        row = carry_out(name, listener, scenario.short, BEFORE_S, SECONDS)
        assert row["alive"] and not row["wrong"], row
