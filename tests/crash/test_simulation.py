"""The checker passes a server that is right, and finds every bug that is planted in it.

Goal: histories made by hand are short, and their author knows what is wrong. Method: a server in
virtual time, written apart from the specification; without a bug every seed must pass, and with one
some seed out of a few must be found.
"""

import pytest
from checker import check
from simulation import BUGS, World

SEEDS = 12
SEEDS_OF_A_BUG = 8


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_server_that_is_right_passes(seed):
    history = World(seed).run()
    wrong = check(history)
    assert not wrong, "\n".join(wrong)
    assert sum(op.kind == "crash" for op in history.ops) >= 2
    retried = sum(len(op.attempts) > 1 for op in history.ops if op.kind != "crash")
    print(f"{retried} calls were repeated after a crash")
    assert retried >= 10, "the crashes hit too little"


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    """A search that runs out of its bound has failed, too: among many hand-offs that never come back
    there are too many orders to say in good time that none of them will do."""
    assert any(check(World(seed, bug).run()) for seed in range(SEEDS_OF_A_BUG))
