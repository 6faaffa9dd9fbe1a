"""The client of tests/conformance, for tests here: after this it can be imported, too."""

import pathlib
import subprocess
import sys
import tempfile

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _generate_stubs():
    folder = tempfile.TemporaryDirectory(prefix="waitd-stubs-")
    subprocess.run(
        ["/usr/bin/protoc", f"--python_out={folder.name}", f"--grpc_python_out={folder.name}",
         "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin", f"-I{ROOT}/proto",
         "waitd/v1/waitd.proto", "waitd/v1/admin.proto", "google/rpc/status.proto",
         "google/rpc/error_details.proto", "grpc/health/v1/health.proto"], check=True)
    sys.path[:0] = [folder.name, str(ROOT / "tests" / "conformance")]
    # The installed grpc package is a closed one, so its part of the stubs has to be added to it.
    grpc.__path__.append(f"{folder.name}/grpc")
    return folder


_STUBS = _generate_stubs()
