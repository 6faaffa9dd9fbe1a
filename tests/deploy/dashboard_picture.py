#!/usr/bin/python3
"""Draws deploy/grafana/waitd.svg: panels of the dashboard, by gnuplot, from what a real Prometheus
has scraped from a real waitd within a minute and a half. Nothing in it is made up: the queries,
titles and legends are the dashboard's own, the load is that of the tests, and its parts are named
in the heading. WAITD_BIN_DIR says where waitd is."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import prometheus_live as live
from harness import Server

SHOWN = [
    "Waits that ended, by outcome", "Timeouts, by cause", "Parked waits, by mode",
    "From a Ready to its wake", "How late timeouts were decided", "How long commits took",
    "Calls by method", "Refusals by reason", "Hand-overs"]
PHASE_S = 30
WINDOW_S, STEP_S = 5, 1
PHASES = "one client, then three, then nobody who signals"
# Grafana's units, as gnuplot's format and a factor.
UNITS = {"s": ("%.1f ms", 1000), "ops": ("%.0f /s", 1), "reqps": ("%.0f /s", 1),
         "short": ("%g", 1)}
COLOURS = ["#3274d9", "#56a64b", "#e0b400", "#e02f44", "#8f3bb8", "#ff780a", "#447ebc", "#6c757d",
           "#1f78c1", "#0a437c"]


def silent(server, stop):
    """Waits that nobody signals, on two names, until told to stop."""
    with server.client() as client:
        for name in ("silent/a", "silent/b"):
            client.open(name)
        while not stop.is_set():
            calls = [client.start_wait("silent/a", 0.2), client.start_wait("silent/b", 0.05)]
            for call in calls:
                call.result()


def run(prometheus, server):
    """The three phases; when they began and ended."""
    begin = time.time()
    loads = [live.Load(server)]
    prometheus.pause(PHASE_S)
    loads += [live.Load(server, "second"), live.Load(server, "third")]
    prometheus.pause(PHASE_S)
    for load in loads:
        load.stop()
    stop = threading.Event()
    thread = threading.Thread(target=silent, args=(server, stop))
    thread.start()
    prometheus.pause(PHASE_S)
    stop.set()
    thread.join()
    return begin, time.time()


def lines_of(prometheus, target, begin, end):
    """[(legend, [(seconds, value)])] of a query, without what was zero throughout."""
    expression = (target["expr"].replace("$__rate_interval", f"{WINDOW_S}s")
                  .replace("$job", "waitd").replace("$instance", "waitd-0"))
    found = prometheus.get("query_range", query=expression, start=begin, end=end, step=STEP_S)
    lines = []
    for each in found["result"]:
        points = [(at - begin, float(value)) for at, value in each["values"] if value != "NaN"]
        if any(value > 0 for _, value in points):
            legend = target["legendFormat"]
            for label, value in each["metric"].items():
                legend = legend.replace("{{%s}}" % label, value)
            lines.append((legend, points))
    return lines


def commands_of(panel, lines):
    """gnuplot's commands for one panel."""
    form, factor = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
    plots, data = [], []
    for number, (legend, points) in enumerate(lines):
        plots.append(f"'-' using 1:2 with lines lw 1.5 lc rgb '{COLOURS[number % len(COLOURS)]}' "
                     f"title '{legend}'")
        data.append("\n".join(f"{at:.0f} {value * factor:.5g}" for at, value in points) + "\ne")
    return (f"set title '{panel['title']}'\nset format y '{form}'\n"
            f"plot {', '.join(plots)}\n" + "\n".join(data) + "\n")


def draw(panels, path):
    """panels: [(panel, lines)]."""
    rows = (len(panels) + 2) // 3
    size = f"1260,{60 + 250 * rows}"
    heading = f"waitd for {3 * PHASE_S} s: {PHASES}"
    commands = f"""set terminal svg size {size} font 'sans-serif,11' background '#ffffff'
set encoding utf8
set output '{path}'
set multiplot layout {rows},3 title '{heading}' font ',14'
set termoption noenhanced
set xrange [0:{3 * PHASE_S}]
set yrange [0:*]
set format x '%.0f s'
set xtics {PHASE_S}
set grid lc rgb '#dddddd'
set border 3 lc rgb '#888888'
set tics nomirror
set key below horizontal samplen 1 font ',9'
"""
    commands += "".join(commands_of(*each) for each in panels) + "unset multiplot\n"
    subprocess.run(["gnuplot"], input=commands, text=True, check=True)


def main():
    path = live.DASHBOARD.with_suffix(".svg")
    shown = {panel["title"]: panel for panel in json.loads(live.DASHBOARD.read_text())["panels"]}
    port = live.free_port()
    with tempfile.TemporaryDirectory() as folder:
        prometheus = live.Prometheus(pathlib.Path(folder), {"waitd-0": port})
        try:
            with Server(f"{os.environ['WAITD_BIN_DIR']}/waitd", "--store=rocksdb",
                        f"--metrics-address=127.0.0.1:{port}") as server:
                prometheus.await_scraped("waitd-0")
                begin, end = run(prometheus, server)
                panels = [(shown[title], [line for target in shown[title]["targets"]
                                          for line in lines_of(prometheus, target, begin, end)])
                          for title in SHOWN]
        finally:
            prometheus.stop()
    empty = [panel["title"] for panel, lines in panels if not lines]
    if empty:
        sys.exit(f"nothing to draw in {empty}")
    draw(panels, path)
    print(f"drew {path.relative_to(live.ROOT)}")


if __name__ == "__main__":
    main()
