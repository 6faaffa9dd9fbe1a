"""Ten thousand parked calls on one server, all released by one Close, and again."""

import os

from harness import CLOSED, FIFO, Server, eventually, measured_memory

COUNT = 10_000
# What a store holds back of what it has written already, to sort it: up to that it grows by itself.
STORE_BYTES = 64 << 20 if os.environ.get("WAITD_TEST_STORE") == "rocksdb" else 0
CONNECTIONS = 10
LIMIT_S = 80
ROUNDS_MAX = 4


def round_of(server, name):
    """Parks COUNT waits, closes the descriptor, and returns what memory stood at while parked."""
    clients = [server.client() for _ in range(CONNECTIONS)]
    try:
        first = clients[0]
        generation = first.open(name, kind=FIFO, must_create=True).poll_descriptor.generation
        calls = [clients[i % CONNECTIONS].start_wait(name, call_limit_s=LIMIT_S)
                 for i in range(COUNT)]
        first.await_parked(name, COUNT, limit_s=LIMIT_S)
        parked = server.rss()
        assert server.metrics()("waitd_waiters", mode="read") == COUNT
        assert first.close(name).woken == COUNT
        for call in calls:
            answer = call.result()
            assert (answer.outcome, answer.generation) == (CLOSED, generation)
        eventually(lambda: server.metrics().total("waitd_waiters") == 0, "nobody parked")
    finally:
        for client in clients:
            client.disconnect()
    return parked


def test_10_000_waits_are_all_released_and_memory_stays_level(waitd, name):
    """A leak grows in every round; how the allocator spreads one may differ once."""
    with Server(waitd, env=measured_memory()) as server:
        levels = [round_of(server, name)]
        while len(levels) < ROUNDS_MAX:
            levels.append(round_of(server, name))
            if levels[-1] <= levels[-2] * 1.1 + STORE_BYTES:
                return
        raise AssertionError(f"bytes, round by round: {levels}")
