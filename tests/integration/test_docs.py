"""What the documents say of the program."""

import re
import urllib.request

from conftest import ROOT


def test_the_readme_lists_every_metric(server):
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        exposed = set(re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE))
    readme = (ROOT / "README.md").read_text()
    ours = {each for each in exposed if not each.startswith("process_")}
    assert ours and all(each in readme for each in ours), ours
    named = set(re.findall(r"`((?:waitd|grpc_server)_\w+)", readme))
    assert named <= exposed, named - exposed


def test_the_readme_names_options_that_exist():
    readme = (ROOT / "README.md").read_text()
    source = (ROOT / "server/options/options.cc").read_text() + (ROOT / "client/waitctl/app.cc").read_text()
    own = {"--http2-prior-knowledge", "--protocol", "--python_out", "--grpc_python_out", "--cpp_out",
           "--grpc_out", "--plugin", "--cflags", "--libs", "--help"}
    for option in set(re.findall(r"(--[a-z0-9][a-z0-9_-]+)", readme)) - own:
        assert option in source or option[2:] in source, option
