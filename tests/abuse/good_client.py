#!/usr/bin/python3
"""A client that signals and waits, checks each outcome, and measures, while others misbehave.

    good_client.py '{"address": "127.0.0.1:7411"}'

Two threads work on names of their own, one by unary calls and one through a session, a signal each
few milliseconds; waits that were parked at the start are signalled at the end. Each line on stdin is
answered by one of JSON: "mark" by the latencies since the last one, "end" by all that went wrong.
"""

import json
import sys
import threading
import time

import grpc
import known
from attacks import Target

PAUSE_S = 0.005
PARKED = 50
PARKED_LIMIT_S = 600


class Worker(threading.Thread):
    """Pairs of a signal and a wait, one after the other."""

    def __init__(self, client, name):
        super().__init__(daemon=True)
        self._client, self._name = client, name
        self._ending, self._lock = threading.Event(), threading.Lock()
        self._latencies = []
        self.pairs = self.refused = 0
        self.wrong = []
        client.open(name, kind=known.FIFO)
        self._parked = []
        for number in range(PARKED):
            client.open(f"{name}/parked/{number}")
            self._parked.append(client.start_wait(f"{name}/parked/{number}",
                                                  call_limit_s=PARKED_LIMIT_S))
            client.await_parked(f"{name}/parked/{number}")

    def run(self):
        while not self._ending.wait(PAUSE_S):
            self._checked(self._pair)

    def _checked(self, what, *arguments):
        try:
            what(*arguments)
        except Exception as error:  # whatever it is, it is wrong
            self.wrong.append(repr(error)[:500])

    def _pair(self):
        """Half of the waits are there before their signal, and half come after it."""
        self.pairs += 1
        data = f"{self._name}/{self.pairs}".encode()
        waiting = self.pairs % 2 == 0
        if waiting:
            call = self._client.start_wait(self._name)
        begin = time.monotonic()
        self._client.ready(self._name, data)
        if not waiting:
            call = self._client.start_wait(self._name)
        try:
            answer = call.result()
        except grpc.RpcError as error:
            # When all waits that the server has are taken, the signal stands for who comes next.
            known.check_refusal(error, grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_WAITERS")
            assert waiting, "refused, though a signal was there to be taken"
            self.refused += 1
            answer = self._client.wait(self._name)
        end = time.monotonic()
        self._check(answer, data)
        with self._lock:
            self._latencies.append(end - begin)

    @staticmethod
    def _check(answer, data):
        assert answer.outcome == known.READY, answer
        assert answer.signal.data == data, (answer, data)
        assert answer.coalesced == 0, answer

    def take(self):
        """The latencies since it was asked last, in seconds."""
        with self._lock:
            taken, self._latencies = self._latencies, []
        return taken

    def end(self):
        """Ends the pairs, and then the waits that were parked all the while."""
        self._ending.set()
        self.join()
        for number in range(PARKED):
            self._checked(self._end_parked, number)
        self._checked(self._nothing_left)

    def _end_parked(self, number):
        name, call = f"{self._name}/parked/{number}", self._parked[number]
        assert not call.done(), "it ended before its signal"
        assert self._client.ready(name, name.encode()).woken == 1
        self._check(call.result(), name.encode())
        self._client.close(name)

    def _nothing_left(self):
        assert self._client.wait(self._name, 0).outcome != known.READY, "a signal came twice"
        self._client.close(self._name)


def figures(latencies):
    """In milliseconds."""
    ordered = sorted(latencies)

    def part(of):
        return round(ordered[min(int(of * len(ordered)), len(ordered) - 1)] * 1000, 3)
    return {"pairs": len(ordered), **({"p50": part(.5), "p99": part(.99), "max": part(1)}
                                      if ordered else {})}


def main(text):
    target = Target(**json.loads(text))
    unary = known.client(target)
    session = known.SessionClient(target.address, who=known.who(target))
    workers = [Worker(unary, "good/unary"), Worker(session, "good/session")]
    for worker in workers:
        worker.start()
    for line in sys.stdin:
        if line.strip() == "mark":
            answer = figures([one for worker in workers for one in worker.take()])
        else:
            for worker in workers:
                worker.end()
            wrong = [one for worker in workers for one in worker.wrong]
            if session.session.streams != 1:
                wrong.append(f"the session took {session.session.streams} streams")
            answer = {"pairs": sum(worker.pairs for worker in workers), "wrong": wrong,
                      "refused": sum(worker.refused for worker in workers)}
        print(json.dumps(answer), flush=True)
    session.disconnect()
    unary.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
