"""The edge by the chart: what is rendered is looked at by the real nginx, and run with it and
waitd."""

import copy
import json
import re
import subprocess

import pytest
from test_helm import CHART, Volumes, one, outcomes_of_test_pod, pod_spec, run, until, waiters
from test_helm import helm, pod  # noqa: F401  fixtures
from test_helm_access import Caller, der, served, values_of
from test_helm_access import authority, clients, secrets  # noqa: F401  fixtures

TLS = {"enabled": True}
EDGE = {"edge": {"enabled": True}, "tls": TLS}


def edge_of(objects):
    container, = pod_spec(objects)["initContainers"]
    return container


def conf_of(objects):
    return one(objects, "ConfigMap", "rel-waitd-edge")["data"]["edge.conf"]


@pytest.mark.parametrize("values, said", [
    ({"edge": {"enabled": True}}, "set tls.enabled"),
    ({"edge": {"enabled": True}, "tls": {**TLS, "clientCa": {"secretName": "a"}}},
     "set auth.mode token"),
    ({**EDGE, "config": {"maxConnectionAge": "12h"}}, "leave it at 0"),
])
def test_what_does_not_go_together_is_refused_with_what_to_do(helm, values, said):
    assert said in helm.refusal(values)


def test_a_cluster_without_sidecars_is_refused(helm):
    words = ["template", "rel", helm.chart, "--set", "edge.enabled=true,tls.enabled=true",
             "--kube-version"]
    assert "1.29 or newer" in helm(*words, "1.28.9", code=1).stderr
    helm(*words, "1.29.0-gke.1")


def test_a_chart_without_the_file_says_so(helm, tmp_path):
    chart = tmp_path / "waitd"
    run("cp", "-r", helm.chart, chart)
    (chart / "files/edge.conf").unlink()
    words = ["template", "rel", chart, "--set", "edge.enabled=true,tls.enabled=true"]
    assert "package it from a whole checkout" in helm(*words, code=1).stderr
    text = (helm.chart / "files/edge.conf").read_text()
    (chart / "files/edge.conf").write_text(text.replace("calls 1000;", "calls 1001;"))
    assert "has no `limit_conn calls 1000;`" in helm(*words, code=1).stderr


def test_without_it_nothing_of_it_is_there(helm):
    for values in ({}, "token-values.yaml"):
        objects = helm.objects(values)
        assert "initContainers" not in pod_spec(objects)
        assert not [each for each in objects if each["metadata"]["name"].endswith("-edge")]
        assert "edge" not in str(pod_spec(objects))


def test_clients_find_the_edge_and_waitd_listens_for_it_alone(helm):
    objects = helm.objects("edge-values.yaml")
    spec = pod_spec(objects)
    container, = spec["containers"]
    assert [each["name"] for each in container["ports"]] == ["metrics"]
    (port,), number = edge_of(objects)["ports"], 7411
    assert (port["name"], port["containerPort"]) == ("grpc", number)
    for each in objects:
        if each["kind"] == "Service":
            assert each["spec"]["ports"][0]["targetPort"] == number
    assert one(objects, "Service", "rel-waitd")["spec"]["externalTrafficPolicy"] == "Local"
    assert one(objects, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"] == number
    text = one(objects, "ConfigMap", "rel-waitd")["data"]["waitd.conf"]
    assert re.search("^listen-address = unix:/run/waitd/socket/waitd.sock$", text, re.MULTILINE)
    assert "tls-" not in text and "insecure" not in text
    # The key is for the edge only, and the tokens for waitd.
    assert not {"tls"} & {each["name"] for each in container["volumeMounts"]}
    assert not {"tokens", "data"} & {each["name"] for each in edge_of(objects)["volumeMounts"]}
    assert edge_of(objects)["image"] == "registry.example.com/nginx:1.22.1"
    assert "externalTrafficPolicy" not in one(helm.objects(EDGE), "Service", "rel-waitd")["spec"]


def test_its_file_is_the_shipped_one_but_for_what_values_say(helm):
    shipped = (helm.chart / "files/edge.conf").read_text().splitlines()
    rendered = conf_of(helm.objects("edge-values.yaml")).splitlines()
    changed = [new.strip() for old, new in zip(shipped, rendered, strict=True) if old != new]
    assert changed == ["limit_req_zone $binary_remote_addr zone=rate:10m rate=200r/s;",
                       "limit_conn calls 50;", "limit_req zone=rate burst=400 delay=40;"]
    assert conf_of(helm.objects(EDGE)).splitlines() == shipped


def test_a_change_of_its_limits_restarts_the_pod(helm):
    changed = copy.deepcopy(EDGE)
    changed["edge"]["maxCallsPerAddress"] = 7
    assert one(helm.objects(EDGE), "StatefulSet") != one(helm.objects(changed), "StatefulSet")


def test_nginx_finds_nothing_wrong_with_what_is_rendered(helm, secrets, tmp_path):
    def look(objects):
        (tmp_path / "volumes").mkdir(exist_ok=True)
        volumes = Volumes(tmp_path / "volumes", objects, secrets)
        done = run("bwrap", *volumes.sandbox(pod_spec(objects), edge_of(objects)), "--",
                   *edge_of(objects)["command"], "-t", code=None)
        run("rm", "-r", tmp_path / "volumes")
        return done.returncode, [line for line in done.stderr.splitlines()
                                 if not line.startswith("nginx: configuration file")
                                 and not line.startswith("nginx: the configuration file")]

    objects = helm.objects("edge-values.yaml")
    assert look(objects) == (0, [])
    # Nor at what the schema lets through at most, and least.
    limits = json.loads((CHART / "values.schema.json").read_text())["properties"]["edge"]["properties"]
    for bound in ("minimum", "maximum"):
        values = copy.deepcopy(EDGE)
        for name in ("maxCallsPerAddress", "maxRatePerAddress"):
            values["edge"][name] = limits[name][bound]
        assert look(helm.objects(values)) == (0, [])
    one(objects, "ConfigMap", "rel-waitd-edge")["data"]["edge.conf"] += "\nlimit_con calls 1;\n"
    code, said = look(objects)
    assert code == 1 and 'unknown directive "limit_con"' in said[0]


def test_the_notes_say_what_is_in_front(helm):
    done = helm("install", "rel", helm.chart, "--namespace", "ns", "--dry-run=client", "--set",
                "edge.enabled=true,tls.enabled=true")
    text = done.stdout.split("NOTES:")[1]
    assert "The edge, nginx, listens" in text and "0.0.0.0" not in text
    assert "1000 at once" in text and "do everything" in text


# From here on what was rendered is run.


def test_beyond_its_limit_of_calls_an_address_is_refused(pod, secrets, authority, tmp_path):
    values = values_of("edge-values.yaml")
    values["edge"]["maxCallsPerAddress"] = 1
    running = pod(values, secrets)
    caller = Caller(tmp_path / "0", running, ca_file=authority.file.read_text(), token_file="t-ci")
    parked = subprocess.Popen(caller.command("wait", "build/1", "--timeout", "1m"),
                              stdout=subprocess.PIPE)
    until(lambda: waiters(running) == 1)
    assert "a limit of the edge" in caller("health", code=None).stderr
    parked.kill()
    parked.communicate()
    until(lambda: caller("health", code=None).returncode == 0)


def test_a_renewed_certificate_is_served_without_a_restart(pod, secrets, authority):
    running = pod(values_of("edge-values.yaml"), secrets)
    assert served(running) == der(secrets["rel-waitd-tls"])
    renewed = authority.issue("DNS:rel-waitd.ns.svc", "DNS:localhost").secret()
    secrets["rel-waitd-tls"] = {**renewed, "ca.crt": authority.file.read_text()}
    running.volumes.update()
    assert served(running) == der(renewed)
    assert [code for code, _ in outcomes_of_test_pod(running, wait_first=False)] == [0, 0]


def test_what_waitd_answers_in_its_drain_comes_through(pod, secrets, authority, tmp_path):
    values = {**values_of("edge-values.yaml"), "config": {"drainTimeout": "5s"}}
    running = pod(values, secrets)
    caller = Caller(tmp_path / "0", running, ca_file=authority.file.read_text(), token_file="t-ci")
    parked = subprocess.Popen(caller.command("wait", "build/1"), stdout=subprocess.PIPE)
    until(lambda: waiters(running) == 1)
    running.terminate()
    until(lambda: not running.probe("readinessProbe"))
    caller("ready", "build/1", "--data", "late")
    assert parked.communicate(timeout=30)[0] == b"late"
    assert running.process.wait(30) == 0
    assert running.sidecars[0].poll() is None
