"""The edge's unit: what systemd says of it, and nginx within what it allows."""

import re
import signal

import pytest
from edge_live import CONF, UNIT_CREDENTIALS, Edge, seconds, setting
from credentials import Authority
from harness import CALL_LIMIT_S, FIFO, READY, eventually
from test_systemd import ROOT, analyze, check_drop_in, drop_in, settings, unit_filter

UNIT = ROOT / "deploy/systemd/waitd-edge.service"


def of_unit(name):
    value, = settings(name, UNIT)
    return value


def test_systemd_finds_nothing_wrong_with_the_unit():
    done = analyze("verify", "--recursive-errors=no", "--man=no", UNIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_exposure_is_at_most_2():
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_has_the_drop_in_for_waitd_and_systemd_takes_it(tmp_path):
    check_drop_in(UNIT, tmp_path)


def test_the_unit_and_the_file_speak_of_the_same():
    text = CONF.read_text()
    runtime = f"/run/{of_unit('RuntimeDirectory')}/"
    assert setting("pid").startswith(runtime)
    assert all(setting(f"{each}_temp_path").startswith(runtime)
               for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    assert f"default {UNIT_CREDENTIALS};" in text and UNIT_CREDENTIALS.endswith(f"/{UNIT.name}")
    for each in settings("LoadCredential", UNIT):
        assert f"$edge_tls/{each.split(':')[0]};" in text
    listen = re.search("WAITD_LISTEN_ADDRESS=(.*)", drop_in(UNIT))[1]
    assert f"server {listen};" in text
    assert setting("worker_rlimit_nofile") == of_unit("LimitNOFILE")
    assert seconds(of_unit("TimeoutStopSec")) > seconds(setting("worker_shutdown_timeout"))
    assert f"Group={UNIT.stem}\n" in drop_in(UNIT), "which is that of its dynamic user"


@pytest.fixture
def edge(tmp_path):
    """An edge within the unit's system calls; any other kills it."""
    one = Edge(tmp_path / "edge", Authority(tmp_path / "authority"), seccomp=unit_filter(UNIT))
    with one.waitd() as server:
        yield one.start(), server
        one.stop()


def test_it_does_its_work_within_what_the_unit_allows(edge):
    one, _ = edge
    with one.client() as client:
        client.open("a", FIFO)
        call = client.park("a")
        workers = one.workers()
        one.signal(signal.SIGHUP)
        eventually(lambda: len(one.workers() - workers) == 2, "new workers")
        client.ready("a", bytes(65000))
        assert call.result().outcome == READY
        eventually(lambda: not one.workers() & workers, "the former have ended")
        with one.client() as other:
            assert other.get("a").name == "a"
    one.signal(getattr(signal, of_unit("KillSignal")))
    assert one.process.wait(CALL_LIMIT_S) == 0
    assert one.log.read_text() == ""
