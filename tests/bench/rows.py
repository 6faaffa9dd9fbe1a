"""What is measured, and what it is compared to."""

import dataclasses
import re

WAKES = [1, 16, 64, 256, 1000, 4000, 100_000, 1_000_000]
CONNECTIONS_MAX = 4000  # of a peer that needs one for each wait
DURABLE = [64, 1000, 4000]
PARKED = [1000, 10_000, 100_000, 1_000_000]
CALLERS = [1, 16, 64]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measurement: a load's scenario against a server, by name `server scenario count`."""
    server: str
    scenario: str
    count: int
    armed: int = 0
    ids: bool = False
    together: int = 1  # so many servers and loads at the same time, for what mostly sleeps

    @property
    def name(self):
        return f"{self.server} {self.scenario} {self.count}{' ids' if self.ids else ''}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: a field of a figure, over a peer's or by itself, and what to reach."""
    what: str
    ours: tuple
    peer: tuple = None
    relation: str = None  # "<=" or ">="; None: only shown
    target: float = None
    minus: bool = False  # the difference instead of the ratio
    unit: tuple = None   # what the difference is measured in


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done. `level` is for how many seconds a store is written to."""
    rounds: int
    seconds: float
    samples: int   # wakes of a pair
    idle: int      # wakes after idleness, of each of those together
    together: int
    count_max: int
    level: float


FULL = Size(rounds=5, seconds=2, samples=3000, idle=10, together=8, count_max=1_000_000,
            level=15)
QUICK = Size(rounds=1, seconds=0.5, samples=1000, idle=3, together=8, count_max=1_000_000,
             level=5)
SMOKE = Size(rounds=1, seconds=0.05, samples=20, idle=1, together=1, count_max=256, level=0.5)


def number(count):
    """1000000 as 1M, 4000 as 4000."""
    return (f"{count // 1_000_000}M" if count % 1_000_000 == 0 else
            f"{count // 1000}k" if count % 10_000 == 0 else str(count))


def figures(size):
    """In the order in which a round measures them: each beside its peers."""
    found = []
    for callers in CALLERS:
        found += [Figure(server, "unary_ready", callers) for server in ("waitd", "echo")]
    found += [Figure("waitd", "session_pair", size.samples),
              Figure("echo", "ping_pong", size.samples),
              Figure("batch", "session_pair", size.samples),
              Figure("redis", "redis_pair", size.samples),
              Figure("nats", "nats_pair", size.samples),
              Figure("waitd", "unary_pair", size.samples),
              Figure("waitd_durable", "session_pair", size.samples),
              Figure("disk", "sync", size.samples)]
    for waits in WAKES:
        found += [Figure("waitd", "wakes", waits), Figure("batch", "wakes", waits)]
        if waits <= CONNECTIONS_MAX:
            found += [Figure("redis", "redis_wakes", waits)]
        if waits in DURABLE:
            found += [Figure("waitd_durable", "wakes", waits),
                      Figure("redis_always", "redis_wakes", waits)]
        found += [Figure("nats", "nats_wakes", waits)]
    for waits in PARKED:
        found += [Figure("waitd", "session_parked", waits), Figure("batch", "session_parked", waits)]
    found += [Figure("waitd", "session_parked", PARKED[-1], ids=True),
              Figure("waitd", "unary_parked", 20_000),
              Figure("waitd", "latch", 100_000),
              Figure("waitd", "lateness", 0, armed=1_000_000),
              Figure("redis", "redis_lateness", 1000),
              Figure("waitd_durable", "level", 1000),
              Figure("waitd_durable", "restart", 1_000_000)]
    found += [Figure("waitd", f"{kind}_idle", size.idle, together=size.together)
              for kind in ("session", "unary")]
    small = [dataclasses.replace(each, count=min(each.count, size.count_max),
                                 armed=min(each.armed, size.count_max)) for each in found]
    return list(dict.fromkeys(small))  # what differed in its count alone is one now


def wake_rows():
    least = {16: 1.1, 64: 3, 1000: 9, 4000: 15}
    for waits in WAKES:
        if waits <= CONNECTIONS_MAX:
            yield Row(f"wakes/s, {number(waits)} outstanding, to Redis",
                      (f"waitd wakes {waits}", "wakes_per_s"),
                      (f"redis redis_wakes {waits}", "wakes_per_s"),
                      ">=" if waits in least else None, least.get(waits))
    for waits in WAKES:
        yield Row(f"wakes/s, {number(waits)} outstanding, to a bare batched stream",
                  (f"waitd wakes {waits}", "wakes_per_s"),
                  (f"batch wakes {waits}", "wakes_per_s"), ">=", 0.95 if waits <= 16 else 0.8)
    for waits in (64, 1000, 100_000):
        yield Row(f"server's processor µs for a wake, {number(waits)}, to a bare batched stream",
                  (f"waitd wakes {waits}", "server_cpu_us"), (f"batch wakes {waits}", "server_cpu_us"))
    for waits in WAKES:
        yield Row(f"wakes/s, {number(waits)} outstanding, to NATS",
                  (f"waitd wakes {waits}", "wakes_per_s"),
                  (f"nats nats_wakes {waits}", "wakes_per_s"))


def durable_rows(size):
    for waits in DURABLE:
        yield Row(f"durable wakes/s, {number(waits)} outstanding, to Redis that syncs always",
                  (f"waitd_durable wakes {waits}", "wakes_per_s"),
                  (f"redis_always redis_wakes {waits}", "wakes_per_s"), ">=",
                  2 if waits == 64 else 4)
    for waits in DURABLE:
        yield Row(f"durable wakes/s, {number(waits)} outstanding, to those in memory",
                  (f"waitd_durable wakes {waits}", "wakes_per_s"),
                  (f"waitd wakes {waits}", "wakes_per_s"))
    n = size.samples
    restarted = min(1_000_000, size.count_max)
    loaded = min(1000, size.count_max)
    yield Row("one durable pair's wake, p50, above one in memory, in syncs of the disk",
              (f"waitd_durable session_pair {n}", "wake_us.p50"),
              (f"waitd session_pair {n}", "wake_us.p50"), "<=", 1.5, minus=True,
              unit=(f"disk sync {n}", "sync_us.p50"))
    yield Row("restart with 1M descriptors, s, to RocksDB's own scan of them",
              (f"waitd_durable restart {restarted}", "recovery_s"),
              (f"waitd_durable restart {restarted}", "scan_s"), "<=", 2)
    yield Row("bytes of the store, end of a steady load, to its first third",
              (f"waitd_durable level {loaded}", "last_bytes"),
              (f"waitd_durable level {loaded}", "first_bytes"), "<=", 1.5)


def rows(size):
    for callers in CALLERS:
        ours, peer = f"waitd unary_ready {callers}", f"echo unary_ready {callers}"
        yield Row(f"unary Ready, {callers} callers, calls/s, to a bare echo", (ours, "calls_per_s"),
                  (peer, "calls_per_s"), ">=", 0.95)
        yield Row(f"unary Ready, {callers} callers, p99 µs, to a bare echo", (ours, "call_us.p99"),
                  (peer, "call_us.p99"), "<=", 1.1)
        yield Row(f"unary Ready, {callers} callers, server's processor µs each", (ours, "server_cpu_us"),
                  (peer, "server_cpu_us"))
    n = size.samples
    pair = (f"waitd session_pair {n}", "wake_us.p50")
    yield Row("one pair's wake, p50 µs, to a bare stream's ping-pong", pair,
              (f"echo ping_pong {n}", "wake_us.p50"), "<=", 1.1)
    yield Row("one pair's wake, p50 µs, to Redis", pair, (f"redis redis_pair {n}", "wake_us.p50"),
              "<=", 1.0)
    yield Row("one pair's wake, p50 µs, to a bare batched stream", pair,
              (f"batch session_pair {n}", "wake_us.p50"))
    yield Row("one pair's wake, p50 µs, to NATS", pair, (f"nats nats_pair {n}", "wake_us.p50"))
    yield Row("one pair's wake by unary calls, p50 µs, to one in sessions",
              (f"waitd unary_pair {n}", "wake_us.p50"), pair)
    for kind in ("session", "unary"):
        name = f"waitd {kind}_idle {size.idle}"
        yield Row(f"first wake after 1-3 s, {kind}, p99 µs above a warm one", (name, "idle_us.p99"),
                  (name, "warm_us.p99"), "<=", 1000, minus=True)
    yield from wake_rows()
    yield from durable_rows(size)
    late = "waitd lateness 0"
    yield Row("lateness with 1M armed, p99 µs, by the server", (late, "server_late_us.p99"), None,
              "<=", 1000)
    yield Row("lateness with 1M armed, p99 µs, by the client, to Redis", (late, "client_late_us.p99"),
              ("redis redis_lateness 1000", "client_late_us.p99"))
    yield Row("timeouts that came early", (late, "early"), None, "<=", 0)
    yield Row("share of lateness within 1 ms, by the metric", (late, "within_1ms"), None, ">=", 0.99)
    for waits in PARKED[-2:]:
        yield Row(f"bytes for a parked wait and its descriptor, {number(waits)}",
                  (f"waitd session_parked {waits}", "bytes"), None, "<=", 512)
    yield Row("of which the wait", (f"waitd session_parked {PARKED[-1]}", "wait_bytes"), None, "<=",
              128)
    yield Row("the same with a wait_id", (f"waitd session_parked {PARKED[-1]} ids", "bytes"))
    yield Row("bytes for a parked wait, to a name in a bare map",
              (f"waitd session_parked {PARKED[-1]}", "bytes"),
              (f"batch session_parked {PARKED[-1]}", "bytes"))
    yield Row("bytes for a parked unary call, to one in a session", ("waitd unary_parked 20000", "bytes"),
              (f"waitd session_parked {PARKED[-1]}", "bytes"))
    yield Row("a latch's 100k waiters released, median µs", ("waitd latch 100000", "released_us.p50"),
              None, "<=", 100_000)


def sample(metrics, name):
    """The value of a metric without labels."""
    return float(re.search(rf"^{name} (\S+)$", metrics, re.M)[1])


def within(metrics, histogram, bound):
    """The share of a Prometheus histogram's observations that are at most `bound`."""
    found = re.findall(rf'^{histogram}_bucket{{(?:.*,)?le="([^"]+)".*}} (\S+)$', metrics, re.M)
    counts = {float(le): 0.0 for le, _ in found}
    for le, count in found:
        counts[float(le)] += float(count)
    return counts[bound] / counts[float("inf")] if counts[float("inf")] else 1.0
