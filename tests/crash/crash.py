#!/usr/bin/python3
"""Kills waitd at random moments under real clients, and proves that every answer can be explained.

    crash.py --kills 200 --seed 7        kills; the clients' choices and the moments are the seed's
    crash.py --power-cuts 20             what was not synced is lost with each kill
    crash.py --check FILE                goes over the history of a run that failed
    crash.py --kills 0 --flags=          traffic alone, against any store

WAITD_BIN_DIR names the folder of waitd.
"""

import argparse
import collections
import os
import pathlib
import random
import secrets
import shutil
import sys
import tempfile
import time

import stubs
from checker import check
from history import MS, History, Op
import power
from process import Waitd, wall_offset_ns
from workload import MAX_WAIT_MS, Run

STORE_FLAGS = ["--store=rocksdb", "--sync=always"]
# Less than this says nothing: the run is void.
ANSWERS_PER_KILL_MIN = 40
BROKEN_PER_KILL_MIN = 0.5
CLOCK_STEP_MAX = 5 * MS


class Failed(Exception):
    """The run has failed, or is void."""


def report(text):
    print(text, flush=True)


class Crash:
    """One run."""

    def __init__(self, options, directory):
        self._options = options
        self._random = random.Random(options.seed)
        self._cuts = options.power_cuts > 0
        self._kills = options.power_cuts or options.kills
        # A slow disk is cut where a fast one hardly ever is: between two syncs of a start.
        sync_us = self._random.choice([0, 8000])
        env = power.environment(pathlib.Path(directory), sync_us=sync_us) if self._cuts else None
        self._server = Waitd(directory, [*options.flags, f"--max-wait={MAX_WAIT_MS}ms"], env)
        self._run = Run(self._server.address, wall_offset_ns(), options.seed, max_wait=True)
        self.history = self._run.history

    def run(self):
        """Raises Failed with all that is wrong."""
        begin = time.monotonic()
        try:
            self._traffic()
        finally:
            self._server.stop()
        took = time.monotonic() - begin
        self._judge_traffic()
        begin = time.monotonic()
        wrong = check(self.history)
        checking = time.monotonic() - begin
        operations = sum(bool(op.names) for op in self.history.ops)
        report(f"{operations} operations and {self._server.starts - 1} kills in {took:.1f} s, "
               f"{self._run.broken} calls broken; checked in {checking:.1f} s, "
               f"{operations / max(checking, 0.001):.0f} a second")
        if wrong:
            raise Failed("\n".join(wrong[:20] + [f"{len(wrong)} things are wrong"]))

    def _traffic(self):
        self._server.start()
        self._run.start(unary=self._options.clients, sessions=1, per_session=4)
        for _ in range(self._kills):
            self._run.stop.wait(self._random.uniform(*self._options.pause))
            if self._run.stop.is_set():
                break
            self._kill()
        if not self._kills:
            self._run.stop.wait(self._options.seconds)
        else:
            self._run.stop.wait(0.5)
        self._run.finish()
        if self._server.process.poll() is not None:
            raise Failed(f"waitd ended by itself: {self._server.said()}")
        self._run.quiesce()

    def _kill(self):
        crash = Op(kind="crash", names=[], call=time.monotonic_ns())
        died = self._server.process.poll()
        if died is not None:
            raise Failed(f"waitd ended by itself with {died}: {self._server.said()}")
        self._server.kill()
        if self._cuts:
            power.lose_unsynced(self._server.directory, self._random)
        time.sleep(self._random.choice([0, 0.02, 0.1]))
        crash.ret = time.monotonic_ns()
        self.history.add(crash)
        self._server.spawn()
        if self._random.random() < 0.15:
            # While it recovers. Nothing was answered since, so that it is one crash with the last,
            # as long as it has not begun to serve: another is recorded, for it may have.
            time.sleep(self._random.random() * 0.1)
            self._kill()
        elif not self._server.await_serving():
            raise Failed(f"waitd does not start again: {self._server.said()}")

    def _judge_traffic(self):
        """Whether the run says anything."""
        run, answered = self._run, collections.Counter()
        if run.errors:
            raise Failed("\n".join(run.errors))
        for op in self.history.ops:
            if op.answered:
                answered[op.kind] += 1
        report(f"answers: {dict(sorted(answered.items()))}")
        if abs(wall_offset_ns() - run.offset) > CLOCK_STEP_MAX:
            raise Failed("void: the wall clock was stepped")
        kills = self._server.starts - 1
        if sum(answered.values()) < ANSWERS_PER_KILL_MIN * max(kills, 10):
            raise Failed(f"void: too few answers, {sum(answered.values())}")
        if run.broken < BROKEN_PER_KILL_MIN * kills:
            raise Failed(f"void: the kills hit too few calls, {run.broken}")
        for kind in ("ack", "close", "deadline", "get", "open", "poll", "ready", "reset", "wait"):
            if not answered[kind]:
                raise Failed(f"void: no {kind} was answered")


def run_once(options):
    """Whether it went well. What is needed to look at a failure is left behind, and printed."""
    report(f"seed {options.seed}")
    directory = tempfile.mkdtemp(prefix="waitd-crash-")
    one = Crash(options, directory)
    try:
        one.run()
    except Failed as failure:
        if options.expect_failure:
            if str(failure).startswith("void"):
                raise
            report(f"failed, as it must: {str(failure)[:300]}")
            return False
        kept = pathlib.Path(os.environ.get("CRASH_KEEP", tempfile.gettempdir()))
        kept.mkdir(parents=True, exist_ok=True)
        path = kept / f"waitd-crash-{options.seed}.history"
        one.history.save(path)
        log = path.with_suffix(".log")
        shutil.copy(pathlib.Path(directory) / "log", log)
        report(f"{failure}\nFAILED: --seed {options.seed}; history {path}, log {log}")
        return False
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return True


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--power-cuts", type=int, default=0, help="instead of kills")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10, help="of a run without kills")
    parser.add_argument("--pause", type=float, nargs=2, default=(0.1, 0.6), metavar=("MIN", "MAX"),
                        help="seconds between two kills")
    parser.add_argument("--flags", type=str.split, default=STORE_FLAGS, help="of waitd's store")
    parser.add_argument("--expect-failure", action="store_true", help="keep nothing of a failure")
    parser.add_argument("--check", metavar="FILE", help="only check a history")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    if options.check:
        wrong = check(History.load(options.check))
        report("\n".join(wrong) or "nothing is wrong")
        return 1 if wrong else 0
    try:
        return 0 if run_once(options) else 1
    finally:
        stubs.conformance.pytest_unconfigure(None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
