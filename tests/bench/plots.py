"""The figures as pictures, drawn by gnuplot."""

import statistics
import subprocess

import rows

STYLE = """
set terminal svg size 900,540 font "sans-serif,14" background "white"
set output "{file}"
set title "{title}"
set xlabel "{x}"
set ylabel "{y}"
set grid lc rgb "#dddddd"
set border 3 lc rgb "#666666"
set tics nomirror
set key {key} reverse Left
{more}
"""
COLOURS = ["#0b6e99", "#d1495b", "#7a7a7a", "#edae49", "#30638e", "#66a182"]


def plot(path, title, x, y, series, more="", key="outside right center"):
    """Draws series of (name, points); a point is x, y and perhaps the least and the greatest y."""
    series = [(name, points) for name, points in series if points]
    if not series:
        return
    drawn, data = [], []
    for i, (name, points) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        if len(points[0]) == 4:
            drawn.append(f"'-' using 1:2:3:4 with yerrorbars notitle lc rgb '{colour}' pt 0")
            data.append(points)
        drawn.append(f"'-' using 1:2 with {'linespoints pt 7 ps 0.6' if len(points) < 20 else 'lines'}"
                     f" lw 2 lc rgb '{colour}' title '{name}'")
        data.append(points)
    script = STYLE.format(file=path, title=title, x=x, y=y, more=more, key=key)
    script += "plot " + ", ".join(drawn) + "\n"
    for points in data:
        script += "\n".join(" ".join(map(str, point)) for point in points) + "\ne\n"
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def spread(results, figure, field, counts):
    """Median and spread over counts, for those that were measured."""
    points = []
    for count in counts:
        values = [report[field] for report in results.get(f"{figure} {count}", [])]
        if values:
            points.append((count, statistics.median(values), min(values), max(values)))
    return points


def curve(results, figure, field):
    """A distribution: latency over the share that was slower, of each percentile the median."""
    reports = [report[field]["curve"] for report in results.get(figure, [])]
    return [(100 - i, statistics.median(each)) for i, each in enumerate(zip(*reports)) if i < 100]


def draw(results, size, out_dir):
    log = "set logscale xy\nset format x '10^{%L}'\n"
    plot(out_dir / "wakes.svg", "Wakes a second, by waits outstanding", "waits outstanding",
         "wakes/s",
         [(name, spread(results, figure, "wakes_per_s", rows.WAKES)) for name, figure in (
             ("waitd", "waitd wakes"), ("bare batched stream", "batch wakes"),
             ("Redis", "redis redis_wakes"), ("NATS", "nats nats_wakes"),
             ("Redis, synced", "redis_always redis_wakes"))],
         log + "set format y '10^{%L}'")
    plot(out_dir / "memory.svg", "Server memory for a wait and its descriptor", "waits parked",
         "bytes each",
         [(name, spread(results, figure, "bytes", rows.PARKED)) for name, figure in (
             ("waitd, session", "waitd session_parked"), ("bare map", "batch session_parked"))],
         "set logscale x\nset format x '10^{%L}'\nset yrange [0:*]")
    percentiles = ("set logscale xy\nset xrange [100:1]\n"
                   "set xtics ('p0' 100, 'p50' 50, 'p90' 10, 'p95' 5, 'p98' 2, 'p99' 1)")
    n = size.samples
    plot(out_dir / "latency.svg", "One pair, from Ready sent to Wait returned", "percentile", "µs",
         [(name, curve(results, figure, "wake_us")) for name, figure in (
             ("waitd, sessions", f"waitd session_pair {n}"),
             ("bare stream ping-pong", f"echo ping_pong {n}"),
             ("bare batched stream", f"batch session_pair {n}"), ("Redis", f"redis redis_pair {n}"),
             ("NATS", f"nats nats_pair {n}"), ("waitd, unary", f"waitd unary_pair {n}"))],
         percentiles)
    plot(out_dir / "idle.svg", "The first wake after 1 to 3 s of idleness, and warm ones", "percentile",
         "µs",
         [(f"{kind}, {state}", curve(results, f"waitd {kind}_idle {size.idle}", f"{state}_us"))
          for kind in ("session", "unary") for state in ("idle", "warm")], percentiles)
    plot(out_dir / "lateness.svg", "How late a timeout comes, with 1M deadlines armed", "percentile",
         "µs",
         [(name, curve(results, figure, field)) for name, figure, field in (
             ("waitd, decided", "waitd lateness 0", "server_late_us"),
             ("waitd, at the client", "waitd lateness 0", "client_late_us"),
             ("Redis BLPOP, at the client", "redis redis_lateness 1000", "client_late_us"))],
         percentiles + "\nset yrange [1:*]")
