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
    assert sum(op.kind == "crash" for op in history.ops) >= 2
    assert sum(len(op.attempts) > 1 for op in history.ops) >= 20, "the crashes hit too little"
    wrong = check(history)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    for seed in range(SEEDS_OF_A_BUG):
        wrong = check(World(seed, bug).run())
        if wrong:
            assert not all("out of its bound" in why for why in wrong)
            return
    pytest.fail("the checker passes it")
