"""The installed C++ library, found and linked by a program outside of the build."""

import os
import pathlib
import re
import shutil
import subprocess

import grpc
import pytest

from conftest import BIN, ROOT

CONSUMER = pathlib.Path(__file__).parent / "consumer"
CACHE = (BIN.parent / "CMakeCache.txt").read_text()


def cached(variable):
    return re.search(rf"^{variable}:\w+=(.*)$", CACHE, re.MULTILINE).group(1)


# A sanitized library is good for sanitized programs alone.
SANITIZE = [f"-fsanitize={cached('WAITD_SANITIZE')}"] if cached("WAITD_SANITIZE") else []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BIN.parent, "--prefix", prefix], check=True,
                   stdout=subprocess.DEVNULL)
    return prefix


def build_by_pkg_config(installed, source):
    (file,) = installed.glob("lib/**/pkgconfig/waitd-client.pc")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "waitd-client"], check=True,
                           capture_output=True, text=True,
                           env={**os.environ, "PKG_CONFIG_PATH": str(file.parent)}).stdout.split()
    program = source.with_suffix("")
    subprocess.run([cached("CMAKE_CXX_COMPILER"), "-std=c++20", *SANITIZE, source, *flags, "-o",
                    program], check=True)
    return program


def works(server, name, program):
    done = subprocess.run([program, server.address, name], capture_output=True, text=True,
                          timeout=60)
    assert (done.returncode, done.stdout) == (0, "from afar\n"), done
    # Its descriptor was ephemeral, and went with it.
    with pytest.raises(grpc.RpcError) as caught:
        server.get(name)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_cmake_finds_the_package(server, name, installed, tmp_path):
    subprocess.run(["cmake", "-S", CONSUMER, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={installed}",
                    f"-DCMAKE_CXX_FLAGS={' '.join(SANITIZE)}",
                    f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}"], check=True)
    subprocess.run(["cmake", "--build", tmp_path], check=True)
    works(server, name, tmp_path / "consumer")


def test_pkg_config_finds_the_library(server, name, installed, tmp_path):
    shutil.copy(CONSUMER / "consumer.cc", tmp_path)
    works(server, name, build_by_pkg_config(installed, tmp_path / "consumer.cc"))


def test_the_readmes_program_works(server, installed, tmp_path):
    (program,) = re.findall(r"```cpp\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "hello.cc").write_text(program.replace("127.0.0.1:7411", server.address))
    done = subprocess.run([build_by_pkg_config(installed, tmp_path / "hello.cc")],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "world\n"), done


def test_installed_headers_know_no_grpc_and_no_protobuf(installed):
    headers = list((installed / "include").rglob("*.h"))
    assert len(headers) == 7
    for header in headers:
        assert not re.search(r"#include .*(grpc|protobuf|\.pb\.h)", header.read_text()), header


def test_installed_files_name_no_place_of_the_build(installed):
    files = [file for file in installed.rglob("*") if file.suffix in (".cmake", ".pc")]
    assert len(files) == 5, files
    for file in files:
        assert str(BIN.parents[2]) not in file.read_text(), file
