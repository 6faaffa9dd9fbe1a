"""TLS, authentication and rules by the chart: what is rendered is run by the real waitd and waitctl,
with certificates of openssl and Secrets that are mounted, and replaced, as the kubelet does it."""

import copy
import re
import socket
import ssl
import subprocess
import urllib.request

import pytest
import yaml
from credentials import Authority, token_line
from test_helm import (BIN, CHART, ROOT, VALUE_SETS, containers_of, faults, one,
                       outcomes_of_test_pod, pod_spec, run, until, waiters)
from test_helm import helm, pod  # noqa: F401  fixtures

SERVICE = "rel-waitd.ns.svc"
TLS_VALUE_SETS = [name for name in VALUE_SETS
                  if "tls" in yaml.safe_load((CHART / "ci" / name).read_text())]


def values_of(name):
    return yaml.safe_load((CHART / "ci" / name).read_text())


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "servers")


@pytest.fixture(scope="session")
def clients(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "clients")


@pytest.fixture
def secrets(authority, clients):
    """Those of the namespace, for all value sets: tls.key and the rest as their makers name them."""
    server = authority.issue(f"DNS:{SERVICE}", "DNS:localhost").secret()
    helm_test = clients.issue("URI:spiffe://example.org/helm", "DNS:helm").secret()
    return {
        "waitd-certificate": server,
        "rel-waitd-tls": {**server, "ca.crt": authority.file.read_text()},
        "clients": {"authorities.pem": clients.file.read_text(), "tls.key": "not for waitd"},
        "waitd-tokens": {"tokens.txt": token_line("helm", "t-helm") + token_line("ci", "t-ci")
                         + token_line("watcher", "t-watcher")},
        "helm-test": {"ca.crt": authority.file.read_text(), "token": "t-helm\n", **helm_test},
    }


class Caller:
    """Somebody outside of the pod, with files of their own, who calls it by localhost."""

    def __init__(self, folder, running, **files):
        self.server = f"localhost:{running.address.rsplit(':', 1)[1]}"
        self.words = []
        for option, text in files.items():
            path = folder / f"{len(list(folder.iterdir()))}-{option}"
            path.write_text(text)
            self.words += [f"--{option.replace('_', '-')}", path]

    def command(self, *words):
        return [BIN / "waitctl", "--server", self.server, *self.words, *words]

    def __call__(self, *words, code=0):
        return run(*self.command(*words), code=code)


def served(running):
    """The serial number of the certificate that a new connection sees."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, port = running.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        with context.wrap_socket(raw) as connection:
            return connection.getpeercert(binary_form=True)


def der(secret):
    return ssl.PEM_cert_to_DER_cert(secret["tls.crt"])


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("values, said", [
    ({"tls": {"secretName": "a"}}, "set tls.enabled"),
    ({"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "a"}}}}, "set tls.enabled"),
    ({"tls": {"clientCa": {"secretName": "a"}}}, "set tls.enabled"),
    ({"tls": {"enabled": True}, "service": {"appProtocol": "kubernetes.io/h2c"}}, "leave it empty"),
    ({"tls": {"enabled": True, "certManager": {"enabled": True}}}, "tls.certManager.issuerRef.name"),
    ({"tls": {"enabled": True}, "auth": {"mode": "mtls", "acl": "a * wait"}},
     "tls.clientCa.secretName"),
    ({"auth": {"mode": "mtls", "acl": "a * wait"}}, "tls.clientCa.secretName"),
    ({"auth": {"mode": "token", "acl": "a * wait"}}, "auth.tokens.secretName"),
    ({"auth": {"tokens": {"secretName": "a"}}}, "set that, too"),
    ({"auth": {"mode": "token", "tokens": {"secretName": "a"}}}, "needs auth.acl"),
    ({"auth": {"mode": "token", "tokens": {"secretName": "a"}, "acl": " \n"}}, "needs auth.acl"),
    ({"auth": {"acl": "a * wait"}}, "set auth.mode"),
])
def test_what_does_not_go_together_is_refused_with_what_to_do(helm, values, said):
    assert said in helm.refusal(values)


GOOD_RULES = ["a * wait", "  a\t b/c/  ready,wait # why", "# a", "", "a * admin,wait", "URI:x#y b/ wait"]
BAD_RULES = ["a *", "a * wait ready", "a b wait", "a b/* wait", "a * wait,", "a * Wait", "a * waits",
             "a b/ list,admin", "é * wait", "a" * 257 + " * wait", "a # * wait"]


@pytest.mark.parametrize("rule", GOOD_RULES[:-1] + BAD_RULES + GOOD_RULES[-1:])
def test_the_chart_and_waitd_agree_on_what_a_rule_is(helm, tmp_path, rule):
    """So that no rule is refused that waitd takes, and none is installed that it would not take."""
    acl = f"first one/ wait\n{rule}\n"
    for name, text in {"acl": acl, "tokens": ""}.items():
        (tmp_path / name).write_text(text)
    # A metrics address that is taken ends those whose rules it has taken.
    taken = socket.create_server(("127.0.0.1", 0))
    done = run(BIN / "waitd", "--store=memory", f"--listen-address=unix:{tmp_path}/socket",
               f"--metrics-address=127.0.0.1:{taken.getsockname()[1]}", "--auth=token",
               f"--token-file={tmp_path}/tokens", f"--acl-file={tmp_path}/acl", code=2)
    taken.close()
    values = {"auth": {"mode": "token", "tokens": {"secretName": "a"}, "acl": acl}}
    if "cannot serve metrics" in done.stderr:
        rendered = one(helm.objects(values), "ConfigMap", "rel-waitd-acl")["data"]["acl"]
        assert rendered.strip() == acl.strip()
    else:
        assert "line 2" in done.stderr
        assert "auth.acl, line 2" in helm.refusal(values)


def test_the_word_insecure_is_there_exactly_when_something_is_missing(helm):
    tls = {"enabled": True}
    auth = {"mode": "token", "tokens": {"secretName": "a"}, "acl": "a * wait"}
    for values, open_ in (({}, True), ({"tls": tls}, True), ({"auth": auth}, True),
                          ({"tls": tls, "auth": auth}, False)):
        text = one(helm.objects(values), "ConfigMap", "rel-waitd")["data"]["waitd.conf"]
        assert bool(re.search("^insecure = true$", text, re.MULTILINE)) == open_


def test_a_change_of_rules_does_not_restart_the_pod_and_one_of_the_mode_does(helm):
    values = values_of("token-values.yaml")
    before = helm.objects(values)
    values["auth"]["acl"] += "new new/ wait\n"
    after = helm.objects(values)
    assert one(before, "StatefulSet") == one(after, "StatefulSet")
    assert one(before, "ConfigMap", "rel-waitd-acl") != one(after, "ConfigMap", "rel-waitd-acl")
    values["auth"]["tokens"]["key"] = "other"
    assert one(helm.objects(values), "StatefulSet") != one(after, "StatefulSet")


def test_secrets_are_mounted_as_a_whole_and_no_more_of_them_than_is_needed(helm):
    for values in TLS_VALUE_SETS:
        spec = pod_spec(helm.objects(values))
        secret = {each["name"]: each["secret"] for each in spec["volumes"] if "secret" in each}
        assert "tls" in secret
        mounts = [each for container in containers_of(spec) for each in container["volumeMounts"]]
        assert not [each for each in mounts if "subPath" in each]
        for name in (*secret, *(["acl"] if "auth" in values_of(values) else [])):
            mount, = [each for each in mounts if each["name"] == name]
            assert mount["readOnly"] and not mount["mountPath"].startswith("/etc/waitd")
        for each in secret.values():
            assert each["items"]
    spec = pod_spec(helm.objects("mtls-values.yaml"))
    ca, = [each for each in spec["volumes"] if each["name"] == "client-ca"]
    assert [each["key"] for each in ca["secret"]["items"]] == ["authorities.pem"]


def test_the_certificate_names_the_service_in_each_form(helm):
    objects = helm.objects("cert-manager-values.yaml")
    certificate = one(objects, "Certificate")["spec"]
    names = certificate["dnsNames"]
    for service in ("rel-waitd", "rel-waitd-headless", "rel-waitd-0.rel-waitd-headless"):
        for end in ("", ".ns", ".ns.svc", ".ns.svc.cluster.local"):
            assert service + end in names
    assert "waits.example.com" in names and len(names) == len(set(names))
    volume, = [each for each in pod_spec(objects)["volumes"] if each["name"] == "tls"]
    assert volume["secret"]["secretName"] == certificate["secretName"] == "rel-waitd-tls"
    plain = copy.deepcopy(values_of("cert-manager-values.yaml"))
    plain["tls"]["certManager"].update(clusterDomain="", duration="", renewBefore="")
    plain = helm.objects(plain)
    assert faults([one(plain, "Certificate")]) == [[]]
    assert not [name for name in one(plain, "Certificate")["spec"]["dnsNames"]
                if name.endswith("cluster.local")]
    assert "duration" not in one(plain, "Certificate")["spec"]


def test_the_ports_are_said_to_speak_h2c_without_tls_only(helm):
    def said(values):
        return [port.get("appProtocol") for each in helm.objects(values)
                if each["kind"] == "Service" for port in each["spec"]["ports"]
                if port["name"] == "grpc"]

    assert said({}) == ["kubernetes.io/h2c"] * 2
    assert said("tls-secret-values.yaml") == [None] * 2
    assert said("cert-manager-values.yaml") == ["https"] * 2


def test_the_notes_say_what_is_open_and_how_to_connect(helm):
    def notes(values):
        done = helm("install", "rel", helm.chart, "--namespace", "ns", "--dry-run=client",
                    "--values", CHART / "ci" / values)
        return done.stdout.split("NOTES:")[1]

    text = notes("tls-secret-values.yaml")
    assert "by TLS, and whoever reaches it may do everything" in text
    assert "--server localhost:7411 --ca-file ca.crt ready hello" in text
    assert "Secret helm-test: ca.crt." in text
    text = notes("cert-manager-values.yaml")
    assert "get secret rel-waitd-tls" in text and "ca.crt from the Secret rel-waitd-tls" in text
    text = notes("token-values.yaml")
    assert "--ca-file ca.crt --token-file token wait NAME" in text
    assert "Secret helm-test: ca.crt token." in text
    assert "IDENTITY helm-test/ wait,ready,open" in text
    assert "do everything" not in text and "plaintext" not in text
    text = notes("mtls-values.yaml")
    assert "for clients with a certificate" in text and "(auth.mode: mtls)" in text
    assert "--cert-file client.crt --key-file client.key" in text
    assert "IDENTITY ci/ wait,ready,open" in text


def test_the_values_in_the_readme_install(helm):
    text = (ROOT / "deploy/README.md").read_text()
    values = yaml.safe_load(re.search(r"```yaml\n(# access\.yaml\n.*?)```", text, re.DOTALL)[1])
    objects = helm.objects(values)
    assert not any(faults(objects))
    assert one(objects, "Certificate")["spec"]["issuerRef"]["name"] == "waits"


# From here on what was rendered is run.


@pytest.mark.parametrize("name", TLS_VALUE_SETS)
@pytest.mark.parametrize("wait_first", [True, False])
def test_waitd_answers_the_probes_and_the_test_pod_waits_and_signals(pod, secrets, name, wait_first):
    """As is: the pod's Secrets, the address by its name in the cluster, and what the test pod has."""
    running = pod(values_of(name), secrets)
    for which in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert "httpGet" in running.container[which]
        assert running.probe(which)
    if name == "tls-secret-values.yaml":
        assert 'waitd_held_bytes_limit{what="payloads"} 134217728' in get(f"{running.metrics}/metrics")
    assert [code for code, _ in outcomes_of_test_pod(running, wait_first)] == [0, 0]
    assert "waitd_descriptors" in get(f"{running.metrics}/metrics")
    running.terminate()
    assert running.process.wait(30) == 0


def test_without_its_credentials_the_test_says_what_is_missing(pod, secrets):
    values = values_of("token-values.yaml")
    values["test"] = {}
    running = pod(values, secrets)
    # The authority is that of the server's Secret.
    (code, said), = outcomes_of_test_pod(running, wait_first=True)
    assert code == 2 and "token file '/run/test.credentialsSecret/token'" in said
    del secrets["rel-waitd-tls"]["ca.crt"]
    running.volumes.update()
    (code, said), = outcomes_of_test_pod(running, wait_first=True)
    assert code == 2 and "CA file '/run/test.credentialsSecret/ca.crt'" in said
    values = values_of("mtls-values.yaml")
    del secrets["helm-test"]
    (code, said), = outcomes_of_test_pod(pod(values, secrets), wait_first=True)
    assert code == 2 and "/run/test.credentialsSecret/" in said


def test_a_test_whose_name_no_rule_allows_fails(pod, secrets):
    values = values_of("token-values.yaml")
    values["test"]["name"] = "build/not its own"
    running = pod(values, secrets)
    outcomes = outcomes_of_test_pod(running, wait_first=False)
    assert [code for code, _ in outcomes] != [0, 0]


def test_tokens_without_tls_work_where_a_mesh_has_it(pod, secrets, tmp_path):
    values = values_of("token-values.yaml")
    del values["tls"]
    running = pod(values, secrets)
    assert "grpc" in running.container["livenessProbe"]
    for which in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert running.probe(which)
    assert [code for code, _ in outcomes_of_test_pod(running, wait_first=True)] == [0, 0]
    running.ctl("ready", "build/1", code=6)


def test_a_new_certificate_is_served_without_a_restart(pod, secrets, authority, tmp_path):
    running = pod(values_of("tls-secret-values.yaml"), secrets)
    caller = Caller(tmp_path / "0", running, ca_file=authority.file.read_text())
    parked = subprocess.Popen(caller.command("wait", "a", "--timeout", "1m"),
                              stdout=subprocess.PIPE)
    until(lambda: waiters(running) == 1)
    assert served(running) == der(secrets["waitd-certificate"])
    secrets["waitd-certificate"] = authority.issue(f"DNS:{SERVICE}", "DNS:localhost").secret()
    running.volumes.update()
    until(lambda: served(running) == der(secrets["waitd-certificate"]))
    assert [code for code, _ in outcomes_of_test_pod(running, wait_first=False)] == [0, 0]
    # A key that does not fit is not taken, and said to be.
    good = secrets["waitd-certificate"]
    other = authority.issue("DNS:a").secret()
    secrets["waitd-certificate"] = {**good, "tls.key": other["tls.key"]}
    running.volumes.update()
    until(lambda: "not taken" in running.log.read_text())
    assert served(running) == der(good)
    caller("ready", "a", "--data", "still here")
    assert parked.communicate(timeout=30)[0] == b"still here"
    assert running.process.poll() is None


def test_tokens_and_rules_change_without_a_restart(pod, helm, secrets, authority, tmp_path):
    values = values_of("token-values.yaml")
    running = pod(values, secrets)

    def caller(token):
        return Caller(tmp_path / "0", running, ca_file=authority.file.read_text(),
                      token_file=token)

    ci, stranger = caller("t-ci"), caller("t-new")
    ci("ready", "build/1", "--data", "1")
    assert ci("wait", "build/1").stdout == "1"
    # To whom may not list it, it is as if it were not there.
    ci("ready", "other/1", code=4)
    assert "not one of this server's" in stranger("ready", "other/1", code=6).stderr
    # Health asks for no token.
    Caller(tmp_path / "0", running, ca_file=authority.file.read_text())("health", "waitd-readiness")

    secrets["waitd-tokens"]["tokens.txt"] += token_line("new", "t-new")
    running.volumes.update()
    until(lambda: "not one of this server's" not in stranger("ready", "other/1", code=None).stderr)
    stranger("ready", "other/1", code=4)
    changed = copy.deepcopy(running.values)
    changed["auth"]["acl"] += "new other/ ready,wait,open\n"
    running.volumes.update(helm.objects(changed))
    until(lambda: stranger("ready", "other/1", "--data", "2", code=None).returncode == 0)
    assert stranger("wait", "other/1").stdout == "2"
    # And a token that is taken out lets nobody in.
    secrets["waitd-tokens"]["tokens.txt"] = token_line("new", "t-new")
    running.volumes.update()
    until(lambda: "not one of this server's" in ci("ready", "build/1", code=None).stderr)
    assert running.process.poll() is None


def test_only_clients_with_a_certificate_of_their_authority_connect(pod, secrets, authority, clients,
                                                                    tmp_path):
    running = pod(values_of("mtls-values.yaml"), secrets)

    def caller(signer, uri):
        pair = signer.issue(f"URI:{uri}").secret()
        return Caller(tmp_path / "0", running, ca_file=authority.file.read_text(),
                      cert_file=pair["tls.crt"], key_file=pair["tls.key"])

    ci = caller(clients, "spiffe://example.org/ci")
    ci("ready", "build/1", "--data", "1")
    assert ci("wait", "build/1").stdout == "1"
    caller(clients, "spiffe://example.org/nobody")("ready", "build/1", code=4)
    caller(authority, "spiffe://example.org/ci")("get", "build/1", code=5)
    Caller(tmp_path / "0", running, ca_file=authority.file.read_text())("get", "build/1", code=5)
    # The probes need none.
    assert running.probe("livenessProbe") and running.probe("readinessProbe")


def test_a_drain_ends_the_readiness_by_http_and_not_the_liveness(pod, secrets, authority, tmp_path):
    values = {**values_of("tls-secret-values.yaml"), "config": {"drainTimeout": "5s"}}
    running = pod(values, secrets)
    caller = Caller(tmp_path / "0", running, ca_file=authority.file.read_text())
    parked = subprocess.Popen(caller.command("wait", "a"), stderr=subprocess.PIPE)
    until(lambda: waiters(running) == 1)
    running.terminate()
    until(lambda: not running.probe("readinessProbe"))
    assert running.probe("livenessProbe")
    caller("ready", "a")
    assert parked.wait(30) == 0
    assert running.process.wait(30) == 0
