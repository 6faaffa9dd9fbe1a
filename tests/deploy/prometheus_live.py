"""A real Prometheus that looks at real waitds, with the rules of deploy/ made fast."""

import contextlib
import json
import random
import re
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import grpc
import yaml
from contract import ROOT
from harness import CLEAR, FIFO, eventually

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "waitd.rules.yaml"
DASHBOARD = DEPLOY / "grafana" / "waitd.json"


def all_rules():
    """Each rule of the file, in order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


# What takes minutes in the file takes seconds here; and half a day of parking, three seconds.
_FAST = {"2m": "2s", "5m": "2s", "10m": "3s", "15m": "12s", "30m": "2s", "6h": "20s", "1d": "20s"}
_OLDEST_S = ("43200", "3")


def fast_rules():
    """The file's rules with shorter windows and without patience, as text."""
    document = yaml.safe_load(RULES.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[(\w+)\]", lambda match: f"[{_FAST[match[1]]}]", rule["expr"])
            if "for" in rule:
                rule["for"] = "500ms"
            if rule.get("alert") == "WaitdOldestWaiterTooOld":
                assert _OLDEST_S[0] in rule["expr"]
                rule["expr"] = rule["expr"].replace(*_OLDEST_S)
    return yaml.safe_dump(document, sort_keys=False)


def free_port():
    """A port that nobody has, below those that connections get: so it is free later on, too."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


_CONFIG = """
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}
rule_files: [rules.yaml]
scrape_configs:
  - {job_name: waitd, file_sd_configs: [{files: [targets.json]}]}
"""


class Prometheus:
    """The process, on a free port. What it scrapes is given at the start, as {instance: port}: it
    takes up to ten seconds to notice more."""

    def __init__(self, folder, targets):
        self._folder = folder
        self.retarget(targets)
        (folder / "rules.yaml").write_text(fast_rules())
        (folder / "prometheus.yml").write_text(_CONFIG)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/v1"
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yml",
                 f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"],
                stdout=log, stderr=log)
        try:
            self.eventually(self._is_up, "Prometheus answers")
        except BaseException:
            self.stop()
            raise

    def _is_up(self):
        try:
            return self.get("rules")["groups"]
        except (urllib.error.URLError, ConnectionError):
            return False

    def stop(self):
        self._process.terminate()
        self._process.wait(30)

    def pause(self, length_s):
        """Between two looks, and notices if Prometheus falls over meanwhile."""
        try:
            self._process.wait(timeout=length_s)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError((self._folder / "log").read_text())

    def eventually(self, check, what, limit_s=60):
        """As harness.eventually, but paced."""
        def paced():
            answer = check()
            if not answer:
                self.pause(0.05)
            return answer
        return eventually(paced, what, limit_s)

    def retarget(self, targets):
        """Other targets from now on, or a little later."""
        new = self._folder / "new"
        new.write_text(json.dumps([
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": instance}}
            for instance, port in targets.items()]))
        new.rename(self._folder / "targets.json")

    def await_scraped(self, instance):
        self.eventually(lambda: self.value(f'up{{instance="{instance}"}}') == 1,
                        f"{instance} is scraped")

    def get(self, path, **parameters):
        url = f"{self.url}/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def series(self, expression):
        """[(labels, value)] of an expression, now."""
        return [(each["metric"], float(each["value"][1]))
                for each in self.get("query", query=expression)["result"]]

    def value(self, expression):
        """The one value of an expression, or None."""
        found = self.series(expression)
        return found[0][1] if found else None

    def firing(self, alert, **labels):
        """The alerts of that name that fire, with these labels at least."""
        return [each for each in self.get("alerts")["alerts"]
                if each["state"] == "firing" and each["labels"]["alertname"] == alert
                and labels.items() <= each["labels"].items()]

    def await_firing(self, alert, fault=lambda: None, **labels):
        """Keeps up the fault until the alert fires, and returns it."""
        def look():
            fault()
            return self.firing(alert, **labels)
        return self.eventually(look, f"{alert} fires for {labels}")[0]

    def await_silent(self, alert, **labels):
        self.eventually(lambda: not self.firing(alert, **labels), f"{alert} is silent for {labels}")


class Load:
    """A little of everything that waitd does, again and again, until it is stopped."""

    def __init__(self, server, prefix="load"):
        self._prefix = prefix
        self._client = server.client()
        self._stop = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()
        self._client.disconnect()
        if self._failure:
            raise self._failure

    def _run(self):
        try:
            number = 0
            while not self._stop.is_set():
                number += 1
                self._round(f"{self._prefix}/{number % 20}", number)
        except Exception as failure:  # stop() raises it
            self._failure = failure

    def _round(self, name, number):
        c = self._client
        c.open(name, kind=FIFO)
        call = c.park(name, 10)
        c.deadline(name, 5)
        c.ready(name, b"woken")
        call.result()
        c.deadline(name, CLEAR)
        c.ready(name)
        c.poll([name], timeout=1)
        c.wait(name, 0.002)
        call = c.start_wait(f"{self._prefix}/absent")
        assert call.exception().code() == grpc.StatusCode.NOT_FOUND
        # Handed over, not acknowledged, and handed over again.
        c.ready(name)
        c.wait(name, 5, wait_id=f"{number}/first", ack_timeout=0.02)
        answer = c.wait(name, 5, wait_id=f"{number}/second", ack_timeout=10)
        c.ack(name, f"{number}/second", answer)
        c.close(name)


