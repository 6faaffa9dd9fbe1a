"""A session from Node, whose library is another one: nothing in the protocol needs one."""

import os
import pathlib
import subprocess

from harness import CALL_LIMIT_S

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_a_session_from_node(start):
    """That node comes to its end by itself says that close() leaves nothing behind."""
    assert (ROOT / "node_modules/@grpc/grpc-js").is_dir(), "make deps-test installs it"
    server = start(listen="127.0.0.1:0")
    result = subprocess.run(
        ["node", "--test", str(ROOT / "tests/node")], text=True, capture_output=True,
        env={**os.environ, "WAITD_ADDRESS": server.address}, timeout=CALL_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "# pass 1\n" in result.stdout, result.stdout
