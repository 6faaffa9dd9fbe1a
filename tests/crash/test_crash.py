"""Nothing acknowledged is lost, by kills and by power cuts.

Goal: what was answered survives, and nothing happens twice. Method: real clients on many names, a
server that is killed at random moments, and a checker that has to find an order which explains
every answer. The seed is printed; WAITD_SEED repeats it.
"""

import os
import random

import crash
import pytest

KILLS = int(os.environ.get("CRASH_KILLS", "20"))
SEED = int(os.environ.get("WAITD_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


def run(*arguments, seed=SEED):
    return crash.run_once(crash.parse([f"--seed={seed}", *arguments]))


def test_kills_lose_nothing():
    assert run(f"--kills={KILLS}")


def test_power_cuts_lose_nothing():
    assert run(f"--power-cuts={KILLS}")


@pytest.mark.parametrize("sync", ["never", "interval"])
def test_kills_lose_nothing_without_syncs(sync):
    """The page cache outlives the process: only a power cut takes what was not synced."""
    assert run("--kills=5", f"--flags=--store=rocksdb --sync={sync}")


def test_power_cuts_without_syncs_are_noticed():
    """A run that could not see a loss would prove nothing."""
    assert not run("--power-cuts=5", "--flags=--store=rocksdb --sync=never", "--expect-failure")
