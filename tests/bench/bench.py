#!/usr/bin/python3
"""Measures waitd beside its peers: server and load in processes of their own, all figures in turn,
round by round. Prints a table of ratios, and writes results.json and plots to a folder.

Usage: bench.py BIN_DIR OUT_DIR [full|quick|smoke]
"""

import concurrent.futures
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import plots
import rows
from servers import serving

LOAD_SECONDS_MAX = 120


def load(figure, size, bin_dir, server):
    words = [pathlib.Path(bin_dir) / "bench_load", f"--target={server.target}",
             f"--server_pid={server.pid}", f"--scenario={figure.scenario}",
             f"--count={figure.count}", f"--seconds={size.seconds}", f"--armed={figure.armed}",
             f"--ids={'true' if figure.ids else 'false'}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LOAD_SECONDS_MAX)
    if done.returncode != 0:
        raise RuntimeError(f"{figure.name}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def sync_once(figure, out_dir):
    """How long the disk takes for what a small commit asks of it."""
    took = []
    with tempfile.NamedTemporaryFile(dir=out_dir) as file:
        for _ in range(figure.count):
            os.write(file.fileno(), bytes(200))
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - begin) * 1e6)
    return {"sync_us": {"p50": statistics.median(took)}}


def restart_once(figure, size, bin_dir, out_dir):
    """A server with so many descriptors is killed; RocksDB alone opens and reads what it left, and
    then a server does, in the same state of the disk: neither writes before it has read."""
    with tempfile.TemporaryDirectory(dir=out_dir) as folder:
        with serving("waitd_durable", bin_dir, folder, keep=True) as server:
            load(dataclasses.replace(figure, scenario="session_parked"), size, bin_dir, server)
        scan = subprocess.run([pathlib.Path(bin_dir) / "rocks_scan", f"{folder}/data/rocksdb"],
                              capture_output=True, text=True, timeout=LOAD_SECONDS_MAX, check=True)
        with serving("waitd_durable", bin_dir, folder, keep=True) as server:
            recovery = rows.sample(server.metrics(), "waitd_recovery_duration_seconds")
        return {"recovery_s": recovery, **json.loads(scan.stdout)}


def level_once(figure, size, bin_dir, out_dir):
    """The greatest size of the store in the first and in the last third of a steady load."""
    seen = []
    with serving("waitd_durable", bin_dir, out_dir) as server:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            longer = dataclasses.replace(size, seconds=size.level)
            run = pool.submit(load, dataclasses.replace(figure, scenario="wakes"), longer, bin_dir,
                              server)
            while not run.done():
                seen.append(rows.sample(server.metrics(), "waitd_store_bytes"))
                concurrent.futures.wait([run], timeout=size.level / 60)
            wakes = run.result()["wakes_per_s"] * size.level
    third = len(seen) // 3
    return {"first_bytes": max(seen[:third]), "last_bytes": max(seen[-third:]), "wakes": wakes}


def load_once(figure, size, bin_dir, out_dir):
    if figure.scenario == "sync":
        return sync_once(figure, out_dir)
    if figure.scenario == "restart":
        return restart_once(figure, size, bin_dir, out_dir)
    if figure.scenario == "level":
        return level_once(figure, size, bin_dir, out_dir)
    with serving(figure.server, bin_dir, out_dir) as server:
        report = load(figure, size, bin_dir, server)
        if (figure.server, figure.scenario) == ("waitd", "lateness"):
            report["within_1ms"] = rows.within(server.metrics(), "waitd_timeout_lateness_seconds",
                                               0.001)
        return report


def together(reports):
    """Several loads' report as one: percentiles of all their samples."""
    if len(reports) == 1:
        return reports[0]
    merged = {}
    for field in reports[0]:
        samples = sorted(sample for report in reports for sample in report[field]["all"])
        at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1}
        merged[field] = {name: samples[round(share * (len(samples) - 1))]
                         for name, share in at.items()}
        merged[field]["curve"] = [samples[round(i / 100 * (len(samples) - 1))] for i in range(101)]
        merged[field]["all"] = samples
    return merged


def measure(size, bin_dir, out_dir):
    """The reports of each figure, one for each round, and what failed."""
    results, failures = {}, []
    figures = rows.figures(size)
    for number in range(size.rounds):
        for at, figure in enumerate(figures):
            print(f"\rround {number + 1} of {size.rounds}: {at + 1} of {len(figures)}: "
                  f"{figure.name:<40}", end="", file=sys.stderr, flush=True)
            with concurrent.futures.ThreadPoolExecutor(figure.together) as pool:
                runs = [pool.submit(load_once, figure, size, bin_dir, out_dir)
                        for _ in range(figure.together)]
            try:
                report = together([run.result() for run in runs])
                results.setdefault(figure.name, []).append(report)
            except (RuntimeError, OSError, subprocess.SubprocessError) as failure:
                failures.append(str(failure))
    print(file=sys.stderr)
    return results, failures


def field(report, path):
    for name in path.split("."):
        report = report[name]
    return report


def short(value):
    """Three digits, the rest as k."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}') / 1000:g}k"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def shown(values):
    return f"{short(statistics.median(values))} ({short(min(values))}-{short(max(values))})"


def evaluate(row, results):
    """The cells of a row, or None if it was not measured."""
    needed = [each[0] for each in (row.ours, row.peer, row.unit) if each]
    if not all(name in results for name in needed):
        return None
    ours = [field(report, row.ours[1]) for report in results[row.ours[0]]]
    peer = [field(report, row.peer[1]) for report in results[row.peer[0]]] if row.peer else []
    # Round by round, so that what slowed both down cancels out.
    if row.minus:
        compared = [a - b for a, b in zip(ours, peer)]
        if row.unit:
            unit = [field(report, row.unit[1]) for report in results[row.unit[0]]]
            compared = [a / b for a, b in zip(compared, unit)]
    elif peer:
        compared = [a / b for a, b in zip(ours, peer)]
    else:
        compared = ours
    verdict = ""
    if row.relation:
        middle = statistics.median(compared)
        good = middle <= row.target if row.relation == "<=" else middle >= row.target
        verdict = "yes" if good else "**no**"
    return {"what": row.what, "waitd": shown(ours), "peer": shown(peer) if peer else "",
            "compared": shown(compared) if peer else "",
            "target": f"{row.relation} {row.target:g}" if row.relation else "", "reached": verdict}


def table(cells):
    head = ["what", "waitd", "peer", "compared", "target", "reached"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row[name] for name in head) + " |"
                              for row in cells])


def processor():
    found = [line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
             if line.startswith("model name")]
    return f"{len(found)} x {found[0] if found else platform.machine()}"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    bin_dir, out_dir = sys.argv[1], pathlib.Path(sys.argv[2])
    size = {"full": rows.FULL, "quick": rows.QUICK, "smoke": rows.SMOKE}[
        sys.argv[3] if len(sys.argv) > 3 else "full"]
    out_dir.mkdir(parents=True, exist_ok=True)
    results, failures = measure(size, bin_dir, out_dir)
    cells = [cell for cell in (evaluate(row, results) for row in rows.rows(size)) if cell]
    written = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
               "machine": processor(), "kernel": platform.release(), "rounds": size.rounds,
               "rows": cells, "figures": results, "failures": failures}
    (out_dir / "results.json").write_text(json.dumps(written), encoding="utf-8")
    (out_dir / "table.md").write_text(table(cells) + "\n", encoding="utf-8")
    plots.draw(results, size, out_dir)
    print(table(cells))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
