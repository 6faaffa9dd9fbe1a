"""What waitctl makes of its words: values and names as they were typed, and clear errors."""

import json
import subprocess

import pytest

from conftest import BIN


def read(server, name):
    return server.get(name).read


@pytest.mark.parametrize("words", [["--data="], ["--data", ""]])
def test_empty_data_is_data_and_eats_no_flag(ctl, server, name, words):
    ctl("ready", name, *words, "--must-exist", code=4)
    ctl("open", name)
    ctl("ready", name, *words, "--must-exist")
    assert read(server, name).payload_bytes == 0


@pytest.mark.parametrize("words,hint", [
    (["wait", "x", "--timeout=", "--must-exist"], "duration"),
    (["wait", "x", "--kind=", "--must-exist"], "latch"),
    (["open", "x", "--idle-ttl=", "--must-create"], "duration"),
    (["ready", "x", "--file=", "--must-exist"], "standard input"),
    (["open", "x", "--label=", "--must-create"], "KEY=VALUE"),
    (["get", "x", "--server="], "--server"),
    (["wait", "x", "--timeout"], "--timeout"),
    (["wait", "x", "--must-exist=no"], "--must-exist"),
])
def test_a_flag_without_a_value_says_so(ctl, words, hint):
    assert hint in ctl(*words, code=2).err


@pytest.mark.parametrize("value,code", [
    ("--fail", 1), ("--fail=3", 3), ("--fail=0", 0), ("--fail=-2147483648", -2147483648),
    ("--fail=2147483647", 2147483647), ("--fail=010", 10)])
def test_a_failure_has_the_code_that_was_given(ctl, name, value, code):
    ctl("ready", name, value, "-m", "why")
    assert f"failed with code {code}: why" in ctl("wait", name, code=8).err


@pytest.mark.parametrize("value", ["off", "false", "abc", "99999999999", "2147483648", "", "1.5",
                                   "0x10"])
def test_a_failure_takes_a_whole_number(ctl, name, value):
    assert "--fail=3" in ctl("ready", name, f"--fail={value}", code=2).err
    ctl("get", name, code=4)


@pytest.mark.parametrize("value", ["-1", "abc", "", "1.5", "18446744073709551616", "0x1"])
@pytest.mark.parametrize("how", ["{} {}", "{}={}"])
def test_a_generation_is_a_whole_number(ctl, name, value, how):
    words = how.format("--generation", value).split(" ")
    assert "waitctl get" in ctl("wait", name, *words, code=2).err


def test_a_generation_is_a_number_to_its_end(ctl, name):
    ctl("close", name, "--generation", "18446744073709551615", code=4)


@pytest.mark.parametrize("value", ["0", "1001", "-1", "two", "1.5"])
def test_need_is_bounded(ctl, value):
    assert "1000" in ctl("poll", "a", f"--need={value}", code=2).err


@pytest.mark.parametrize("odd", ["[a,b]", "{}", "[]", "a,b", "%%", "++", "wait", "a=b", "a b"])
def test_names_are_literal(ctl, name, odd):
    """Also those that are names of commands."""
    other = f"{name}/other"
    ctl("ready", odd, "--data", name)
    ctl("ready", other)
    assert ctl("poll", odd, other, "--all").out == f"{odd}\n{other}\n"
    ctl("ready", odd, "--data", odd)
    assert ctl("wait", odd).out == odd
    ctl("close", odd)


@pytest.mark.parametrize("odd", ["-x", "--help", "--", "-", "--data=3"])
def test_names_behind_a_double_dash_are_literal(ctl, odd):
    ctl("ready", "--data", odd, "--", odd)
    assert ctl("poll", "--", odd).out == f"{odd}\n"
    ctl("ready", "--data", odd, "--", odd)
    assert ctl("wait", "-o", "text", "--", odd).out == odd
    ctl("close", "--", odd)


def test_a_negative_duration_is_no_flag(ctl, name):
    assert "expired" in ctl("deadline", name, "-5s").out


def test_flags_stand_before_and_behind_names(ctl, name, server):
    ctl("ready", "--data", "x", name)
    assert ctl("-o", "json", "get", name).out == ctl("get", name, "-ojson").out
    assert ctl("wait", "--timeout", "1s", "--mode=read", name).out == "x"


@pytest.mark.parametrize("words", [
    [], ["wiat", "x"], ["wait"], ["wait", "x", "--timeot", "3s"], ["wait", "x", "--timeout", "soon"],
    ["deadline", "x", "tomorrow"], ["open", "x", "--label", "novalue"], ["ready", "x", "--fail=x"],
    ["ready", "x", "-m", "why"], ["ready", "x", "--file", "/nowhere"], ["get", "a", "b"],
    ["poll", "a", "--need", "1", "--all"], ["wait", "x", "--kind", "queue"],
])
@pytest.mark.parametrize("form", [["-o", "json"], ["-ojsonl"], ["--output=json"]])
def test_wrong_usage_is_json_where_json_was_asked_for(ctl, words, form):
    done = ctl(*words, *form, code=2)
    error = json.loads(done.err)["error"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "USAGE") and error["message"]
    assert not done.out


@pytest.mark.parametrize("words,hint", [
    (["--timeout", "3s", "wait", "x"], "behind the command"),
    (["wait", "x", "--tiemout=3s"], "did you mean --timeout?"),
    (["--version"], "waitctl version"),
    (["help"], "--help"),
    ([], "waitctl --help"),
    (["get", "a", "b"], "waitctl get --help"),
    (["get", "a", "-x"], "-x"),
])
def test_typed_wrong_hints(ctl, words, hint):
    assert hint in ctl(*words, code=2).err


def test_the_server_of_the_environment_yields_to_the_flag(server, name):
    def run(*words, **env):
        return subprocess.run([BIN / "waitctl", *words], capture_output=True, env=env,
                              timeout=60).returncode

    assert run("open", name, WAITCTL_SERVER=server.address) == 0
    for words in (["--server", server.address, "get", name], ["get", name, "--server",
                                                              server.address]):
        assert run(*words, WAITCTL_SERVER="unix:/nowhere") == 0
    assert run("get", name, WAITCTL_SERVER="unix:/nowhere") == 5
