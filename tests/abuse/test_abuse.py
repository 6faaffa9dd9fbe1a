"""Each attack, small, on each listener that has to withstand it: waitd lives, stays within its memory,
and a good client's outcomes are what they ever were. Latencies are not judged."""

import functools
import os
import pathlib

import abuse
import known
import pytest
from listeners import LISTENERS, all_files

BEFORE_S, SECONDS = 0.2, 1


def start(name):
    all_files()
    return LISTENERS[name](str(pathlib.Path(os.environ["WAITD_BIN_DIR"]) / "waitd"))


@pytest.fixture(scope="module", params=LISTENERS)
def listener(request):
    """One for all attacks, one after the other."""
    with start(request.param) as one:
        yield one


def carry_out(name, listener):
    return abuse.carry_out(name, listener, abuse.SCENARIOS[name].short, BEFORE_S, SECONDS)


@pytest.mark.parametrize("name", abuse.SCENARIOS)
def test_withstands(listener, name):
    if listener.name in abuse.SCENARIOS[name].held:
        row = carry_out(name, listener)
        assert row["alive"] and not row["wrong"], row


def kill(server, client):
    del client
    server.kill()


def signal_beside(server, client):
    """One more than the good client has sent."""
    del server
    client.ready("good/unary", b"a stray")


def stay(server, client):
    """A wait that does not go away."""
    del server
    client.open("bad/stays")
    client.park("bad/stays")


def take_memory(server, client):
    """More than it may."""
    del server
    client.open("bad/large")
    client.ready("bad/large", bytes(60_000))


@pytest.mark.parametrize("deed,said", [
    (kill, "ended with"), (signal_beside, "good client: AssertionError"), (stay, "all is as before"),
    (take_memory, "grew by")])
def test_what_must_not_be_is_noticed(monkeypatch, deed, said):
    """Without these, an attack that does harm could pass as one that is withstood."""
    monkeypatch.setattr(known, "eventually", functools.partial(known.eventually, limit_s=1))
    monkeypatch.setattr(abuse.SCENARIOS["silent"], "grows", 0 if deed is take_memory else 1000)
    with start("plain") as listener, known.Client(listener.server.address) as client:
        def do(*unused):
            deed(listener.server, client)
            return {}
        monkeypatch.setattr(abuse, "launch", do)
        row = carry_out("silent", listener)
    assert row["alive"] == (deed is not kill)
    assert any(said in wrong for wrong in row["wrong"]), row["wrong"]
