"""What the tests of the package and of the image share."""

import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["WAITD_BUILD_DIR"]).resolve()


def run(*words, **more):
    """The stdout of a command that must end with 0."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=280, check=False, **more)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def make_deb(folder):
    """The package as CPack makes it of what is built."""
    run("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
    (deb,) = folder.glob("*.deb")
    return deb


def in_memory():
    """An environment whose temporary files are in memory where there is room for a root: the many
    small files of one take a disk half a minute."""
    shm = "/dev/shm"
    roomy = os.path.isdir(shm) and shutil.disk_usage(shm).free > 1 << 30
    return {**os.environ, **({"TMPDIR": shm} if roomy else {})}
