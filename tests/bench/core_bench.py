#!/usr/bin/python3
"""The core and its peer, Go's network poller and timers, in turn and in one run.

Prints a table: each figure in nanoseconds as median and spread over the rounds, and the ratio to its
peer in the same run. Usage: core_bench.py CORE_BENCH [ROUNDS]
"""

import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

# What is measured, its peer, and the target: a ratio to the peer, or nanoseconds where there is none.
# Benchmarks that do two operations in a turn are divided by two.
ROWS = [
    ("SetDeadline, cleared and armed (each)", "BM_SetDeadlineArmed/1", 2,
     "BenchmarkSetReadDeadlineArmed", 2, "<= 1.0"),
    ("SetDeadline, extended", "BM_SetDeadlineExtended/1", 1,
     "BenchmarkSetReadDeadlineExtended", 1, "<= 1.0"),
    ("SetDeadline, extended, 1M timers in turn", "BM_SetDeadlineExtended/1000000", 1,
     "BenchmarkTimerResetAmongMillion", 1, "<= 1.0"),
    ("SetDeadline, cleared and armed among 1M (each)", "BM_SetDeadlineArmed/1000000", 2,
     None, 1, ""),
    ("SetDeadline by name, extended", "BM_SetDeadlineByName/1", 1, None, 1, ""),
    ("SetDeadline by name, extended, 1M timers", "BM_SetDeadlineByName/1000000", 1, None, 1, ""),
    ("a wake: Ready by name to the wait's answer, 256 parked", "BM_Wake/256", 1, None, 1,
     "<= 150 ns"),
    ("the same, 4096 parked", "BM_Wake/4096", 1, None, 1, ""),
    ("the same, 100k parked", "BM_Wake/100000", 1, None, 1, ""),
    *((f"a poll of {targets} parks, and ends by {ends}", f"BM_Poll/{need}/{targets}", 1, None, 1, "")
      for need, ends in (("one", "one Ready"), ("all", "a Ready for each"))
      for targets in (2, 64, 1000)),
    ("block and unblock by name", "BM_BlockUnblock/1", 1, None, 1, ""),
    ("block and unblock by name, 1M names", "BM_BlockUnblock/1000000", 1, None, 1, ""),
    ("a name looked up", "BM_LookUp/1", 1, None, 1, ""),
    ("a name looked up among 1M", "BM_LookUp/1000000", 1, None, 1, ""),
    ("of which reading the clock", "BM_ReadClock", 1, None, 1, ""),
]


def run(*command, cwd=None):
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def measure(core_bench, rounds):
    """The figures of each benchmark, a list with one for each round."""
    figures = {}
    here = pathlib.Path(__file__).parent
    with tempfile.TemporaryDirectory() as work:
        shutil.copy(here / "go_peer_test.go", work)
        run("env", "GO111MODULE=off", "GOFLAGS=", "go", "test", "-c", "-o", "peer",
            "go_peer_test.go", cwd=work)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            go = run("./peer", "-test.bench", ".", "-test.cpu", "1", "-test.benchtime", "0.5s",
                     cwd=work)
            for name, nanos in re.findall(r"^(Benchmark\w+)\s+\d+\s+([\d.]+) ns/op", go, re.M):
                figures.setdefault(name, []).append(float(nanos))
            ours = json.loads(run(core_bench, "--benchmark_min_time=0.3",
                                  "--benchmark_format=json"))
            for each in ours["benchmarks"]:
                figures.setdefault(each["name"], []).append(each["real_time"])
                for key, value in each.items():
                    if key.endswith("_us"):
                        figures.setdefault(key, []).append(value)
    return figures


def shown(values, divide):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle / divide:.0f} ({low / divide:.0f}-{high / divide:.0f})"


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    figures = measure(sys.argv[1], rounds)
    print("| what | ns | peer, ns | ratio | target |\n|---|---|---|---|---|")
    for what, ours, our_share, peer, peer_share, target in ROWS:
        peer_shown = ratio = ""
        if peer:
            peer_shown = f"`{peer}` {shown(figures[peer], peer_share)}"
            pairs = zip(figures[ours], figures[peer])
            ratio = f"{statistics.median((a / our_share) / (b / peer_share) for a, b in pairs):.2f}"
        print(f"| {what} | {shown(figures[ours], our_share)} | {peer_shown} | {ratio} | {target} |")
    print("\n| lateness among 1M armed, µs | waits | a bare thread | above it | target |\n"
          "|---|---|---|---|---|")
    for what, target in (("p99", "<= 1000"), ("max", "<= 5000")):
        late, bare = figures[f"late_{what}_us"], figures[f"bare_{what}_us"]
        above = [a - b for a, b in zip(late, bare)]
        print(f"| {what} | {shown(late, 1)} | {shown(bare, 1)} | {shown(above, 1)} | {target} |")


if __name__ == "__main__":
    main()
