#!/usr/bin/python3
"""Attacks waitd while a good client is at work, and says what came of it.

    abuse.py build/abuse                         all attacks, at full size, on all listeners
    abuse.py build/abuse -a ping_flood -l mtls   some of them

Writes a table and abuse.json there. WAITD_BIN_DIR names the folder of waitd.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import threading
import time

import grpc
import known
import listeners
from attacks import Target

HERE = pathlib.Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1_000_000
ALL = ("plain", "mtls", "edge")
# A plain port is known not to withstand the others: there they are measured only.
NOT_PLAIN = ("mtls", "edge")


class Scenario:
    """One attack.

    count: of its deeds, at full size and among the tests; grows: by how many MB waitd may at most;
    who: None, a stranger; held: the listeners on which it has to be withstood; files: how many more
    waitd may open before none are left.
    """

    def __init__(self, count, short, grows, who=None, held=ALL, files=None):
        self.count, self.short, self.grows = count, short, grows
        self.who, self.held, self.files = who, held, files


SCENARIOS = {
    "silent": Scenario(19_000, 2_000, 700),
    "slow_headers": Scenario(500, 100, 100),
    "ping_flood": Scenario(20_000_000, 20_000_000, 500),
    # Of the edge each reset takes a connection to waitd, at its rate of calls.
    "rapid_reset": Scenario(100_000, 20_000, 400, held=NOT_PLAIN),
    "hpack_integers": Scenario(20_000, 500, 100, held=NOT_PLAIN),
    "hpack_table": Scenario(50_000, 1_000, 100, held=NOT_PLAIN),
    "metadata_bomb": Scenario(4_000, 200, 100, held=NOT_PLAIN),
    "parks": Scenario(101_000, 11_000, 100, who="bad"),
    "waiters": Scenario(106_000, 7_000, 100, who="bad"),
    "descriptors": Scenario(103_000, 13_000, 100, who="bad"),
    "descriptors_of_files": Scenario(1_000, 400, 100, files=100),
}


class Sampler(threading.Thread):
    """The memory that processes have at most while it runs, and what they compute from its making on."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self._pids, self._end = pids, threading.Event()
        self.first, self.peak = self._rss(), {}
        self._cpu = self._seconds()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self._end.set()
        self.join()

    def run(self):
        while True:
            for what, size in self._rss().items():
                self.peak[what] = max(size, self.peak.get(what, 0))
            if self._end.wait(0.05):
                return

    def grown_mb(self, what):
        return round((self.peak[what] - self.first[what]) / MB, 1)

    def cpu_s(self):
        """What they have computed for, in seconds, since this was made."""
        return {what: round(now - self._cpu[what], 2) for what, now in self._seconds().items()}

    def _rss(self):
        return self._sums("statm", lambda fields: int(fields[1]) * PAGE)

    def _seconds(self):
        return self._sums("stat", lambda fields: (int(fields[13]) + int(fields[14])) / TICKS)

    def _sums(self, file, value):
        return {what: sum(_of_process(pid, file, value) for pid in pids)
                for what, pids in self._pids.items()}


def _of_process(pid, file, value):
    """0: it has ended."""
    try:
        return value(pathlib.Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").split())
    except FileNotFoundError:
        return 0


class Good:
    """The good client's process."""

    def __init__(self, target):
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(HERE / "good_client.py"), target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask("mark")

    def ask(self, word):
        print(word, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the good client has ended"
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def launch(name, listener, count, seconds):
    """Carries an attack out, and returns what it says of itself."""
    done = subprocess.run(
        [sys.executable, "-B", str(HERE / "attacks.py"), name,
         listener.target(SCENARIOS[name].who), str(count), str(seconds)],
        stdout=subprocess.PIPE, text=True, timeout=seconds + 60, check=True)
    return json.loads(done.stdout)


@contextlib.contextmanager
def few_files(pid, files):
    """Meanwhile that process can open so many more files, and no more. None: as many as before."""
    if files is None:
        yield
        return
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_files(pid) + files, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def _files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class State:
    """What there is in waitd that an attack must not leave behind."""

    def __init__(self, server):
        metrics = server.metrics()
        self.waiters = metrics.total("waitd_waiters")
        self.descriptors = metrics.total("waitd_descriptors")
        self.sessions = metrics("waitd_sessions")
        self.files = _files(server.process.pid)

    def all(self):
        return vars(self)

    def back_to(self, before):
        """Fewer files are as good: the good client may have needed one more then."""
        return (self.files <= before.files + 2 and all(
            value == getattr(before, what) for what, value in self.all().items()
            if what != "files"))


def after(listener, before, wrong):
    """All is as before, and a new client can come."""
    server = listener.server
    if server.process.poll() is not None:
        wrong.append(f"waitd ended with {server.process.poll()}")
        return
    try:
        known.eventually(lambda: State(server).back_to(before), "all is as before")
    except (AssertionError, OSError) as error:
        wrong.append(f"{error}: {State(server).all()}, and before {before.all()}")
    try:
        with known.client(Target(**json.loads(listener.target("good")))) as client:
            client.open("good/new")
            client.ready("good/new", b"new")
            assert client.wait("good/new").signal.data == b"new"
            client.close("good/new")
    except grpc.RpcError as error:
        wrong.append(f"no new client can come: {error.code()} {error.details()}")


def carry_out(name, listener, count, before_s, seconds):
    """One attack on a listener that serves. Returns what it came to; wrong: what must not be."""
    scenario, server = SCENARIOS[name], listener.server
    with Good(listener.target("good")) as good:
        time.sleep(before_s)  # for so long it is measured
        calm = good.ask("mark")
        state = State(server)
        sampler = Sampler(listener.pids())
        with sampler, few_files(server.process.pid, scenario.files):
            said = launch(name, listener, count, seconds)
            stormy = good.ask("mark")
            cpu = sampler.cpu_s()
            wrong = []
            if scenario.files is None:
                after(listener, state, wrong)
        if scenario.files is not None:
            after(listener, state, wrong)
            if listener.reached and not wrong:
                server.await_log("no files are left for connections, [0-9]+ turned away")
        last = good.ask("end") if server.process.poll() is None else {"wrong": [], "refused": 0}
    wrong += [f"good client: {one}" for one in last["wrong"]]
    if last["refused"] and name != "waiters":
        wrong.append(f"good client: {last['refused']} waits were refused")
    if name == "waiters" and not last["refused"]:
        wrong.append("void: the waits were never all taken")
    row = {"attack": name, "listener": listener.name, "alive": server.process.poll() is None,
           "grown_mb": {what: sampler.grown_mb(what) for what in sampler.first},
           "cpu_s": cpu, "before": calm, "during": stormy, "said": said, "wrong": wrong}
    if row["grown_mb"]["waitd"] > scenario.grows:
        wrong.append(f"waitd grew by {row['grown_mb']['waitd']} MB, over {scenario.grows}")
    return row


def ratio(row):
    before, during = row["before"].get("p99"), row["during"].get("p99")
    return round(during / before, 2) if before and during else None


def line(row):
    """Of the table, in Markdown."""
    grown = ", ".join(f"{size:.0f}" for size in row["grown_mb"].values())
    grown += f" of {SCENARIOS[row['attack']].grows}"
    busy = sum(row["cpu_s"].values()) / row["said"]["seconds"] * 100
    outcome = "as ever" if not row["wrong"] else "see below"
    return (f"| {row['attack']} | {row['listener']} | {'yes' if row['alive'] else 'no'} | {grown} "
            f"| {busy:.0f} % | {row['before'].get('p99')} | {row['during'].get('p99')} "
            f"| {ratio(row)} | {outcome} |")


HEAD = ("| attack | listener | alive | MB more | CPU | p99 before, ms | during | ratio | good client "
        "and afterwards |\n|---|---|---|---|---|---|---|---|---|")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the table and abuse.json go")
    parser.add_argument("-a", "--attack", action="append", choices=SCENARIOS)
    parser.add_argument("-l", "--listener", action="append", choices=listeners.LISTENERS)
    parser.add_argument("--seconds", type=float, default=10, help="of each attack, and before it")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    listeners.all_files()
    binary = str(pathlib.Path(os.environ["WAITD_BIN_DIR"]).resolve() / "waitd")
    rows = []
    text = [HEAD]
    print(HEAD, flush=True)
    for listener in options.listener or listeners.LISTENERS:
        for name in options.attack or SCENARIOS:
            with listeners.LISTENERS[listener](binary) as one:
                rows.append(carry_out(name, one, SCENARIOS[name].count, options.seconds,
                                      options.seconds))
            text.append(line(rows[-1]))
            print(text[-1], flush=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    about = {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(),
             "load": os.getloadavg(), "kernel": platform.release()}
    (options.folder / "abuse.json").write_text(
        json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    failed = 0
    for row in rows:
        held = row["listener"] in SCENARIOS[row["attack"]].held
        failed += held and bool(row["wrong"])
        for wrong in row["wrong"]:
            text.append(f"{'FAILED' if held else 'open'}: {row['attack']} on {row['listener']}: "
                        f"{wrong}")
            print(text[-1])
    (options.folder / "abuse.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print(about)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
