"""The image that `make image` makes: what is in it, and waitd run in it as an engine would.

bubblewrap makes the container, with what the image's configuration says; nsenter is the engine's exec.
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile
import time

import pytest
from deb_tools import ROOT, in_memory, make_deb, run

DOCKERFILE = (ROOT / "deploy/image/Dockerfile").read_text().replace("\\\n", " ")
TIME = 1700000000
USER = 65532


class Image:
    """An image that was built, and what its archive says."""

    def __init__(self, deb, out):
        run(ROOT / "deploy/image/build.sh", deb, out,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(TIME)})
        self.rootfs = out / "rootfs.tar"
        (self.archive,) = out.glob("waitd-*-oci.tar")
        with tarfile.open(self.archive) as tar:
            blobs = {member.name.rsplit("/", 1)[-1]: tar.extractfile(member).read()
                     for member in tar if member.isfile()}
        for name, data in blobs.items():
            if len(name) == 64:
                assert hashlib.sha256(data).hexdigest() == name

        def blob(part):
            return blobs[part["digest"].removeprefix("sha256:")]

        (entry,) = json.loads(blobs["index.json"])["manifests"]
        self.name = entry["annotations"]["org.opencontainers.image.ref.name"]
        manifest = json.loads(blob(entry))
        self.description = json.loads(blob(manifest["config"]))
        self.config = self.description["config"]
        (layer,) = manifest["layers"]
        self.layer = gzip.decompress(blob(layer))


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    return make_deb(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def image(deb, tmp_path_factory):
    return Image(deb, tmp_path_factory.mktemp("image"))


def members(tar):
    """What is in a tar by name: kind, permissions, owner and contents."""
    return {os.path.normpath("/" + member.name):
            (member.type, member.mode & 0o7777, member.uid, member.gid, member.linkname,
             hashlib.sha256(tar.extractfile(member).read()).digest() if member.isfile() else None)
            for member in tar}


def test_the_same_package_gives_the_same_bytes(image, deb, tmp_path):
    other = Image(deb, tmp_path)
    assert other.rootfs.read_bytes() == image.rootfs.read_bytes()
    assert other.archive.read_bytes() == image.archive.read_bytes()


def test_the_layer_is_the_root_file_system(image):
    with tarfile.open(image.rootfs) as root, \
            tarfile.open(fileobj=io.BytesIO(image.layer)) as layer:
        wanted, found = members(root), members(layer)
    wanted.pop("/")
    found.pop("/", None)
    assert found == wanted


def test_it_has_no_shell_no_package_manager_and_nothing_that_gains_rights(image):
    with tarfile.open(image.rootfs) as tar:
        entries = list(tar)
    programs = {pathlib.PurePath(entry.name).name for entry in entries
                if not entry.isdir() and "/bin/" in entry.name}
    assert programs == {"waitd", "waitctl"}
    assert not [entry.name for entry in entries if entry.mode & 0o6000]
    assert not [entry.name for entry in entries if entry.ischr() or entry.isblk()]
    assert {entry.name for entry in entries if entry.name.startswith("./etc/")} == {
        "./etc/passwd", "./etc/group", "./etc/nsswitch.conf"}
    assert [entry.name for entry in entries if entry.name.endswith("/copyright")]


def test_its_name_has_the_version(image):
    version = re.search(r"^project\(waitd VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M)
    assert image.name == f"waitd:{version[1]}"
    assert image.config["Labels"]["org.opencontainers.image.version"] == version[1]
    assert f"ARG VERSION={version[1]}\n" in DOCKERFILE


def said(word):
    """What the Dockerfile's last instruction of this name says."""
    return re.findall(rf"^{word} (.*)$", DOCKERFILE, re.M)[-1]


def test_the_dockerfile_says_the_same(image):
    config = image.config
    assert said("USER") == config["User"] == f"{USER}:{USER}"
    assert json.loads(said("ENTRYPOINT")) == config["Entrypoint"]
    assert json.loads(said("CMD")) == config["Cmd"]
    assert said("EXPOSE").split() == [port.removesuffix("/tcp") for port in config["ExposedPorts"]]
    assert said("ENV") in config["Env"]
    assert [said("VOLUME")] == list(config["Volumes"])
    assert said("STOPSIGNAL") == config["StopSignal"]
    labels = dict(re.findall(r'(org\.[\w.]+)=("[^"]*"|\S+)', said("LABEL")))
    version = {"org.opencontainers.image.version": "${VERSION}"}
    ours = {key: value for key, value in config["Labels"].items() if key.startswith("org.")}
    assert {key: value.strip('"') for key, value in labels.items()} == ours | version


class Container:
    """The image's command in namespaces of its own, as its user, on a root that is read only."""

    def __init__(self, image, folder):
        self.root, self.state, self.log = folder / "root", folder / "state", folder / "log"
        if not self.root.exists():
            self.root.mkdir()
            self.state.mkdir()
            run("tar", "-C", self.root, "--no-same-owner", "-xf", image.rootfs)
            (self.root / "dev").mkdir(exist_ok=True)
        variables = [word for pair in image.config["Env"]
                     for word in ("--setenv", *pair.split("=", 1))]
        read, write = os.pipe()
        self.process = subprocess.Popen(
            ["bwrap", "--die-with-parent", "--unshare-all", "--uid", str(USER), "--gid", str(USER),
             "--cap-drop", "ALL", "--ro-bind", self.root, "/", "--proc", "/proc", "--dev", "/dev",
             "--bind", self.state, "/var/lib/waitd", "--clearenv", *variables,
             "--chdir", image.config["WorkingDir"], "--as-pid-1", "--info-fd", str(write),
             "--", *image.config["Entrypoint"], *image.config["Cmd"]],
            stderr=self.log.open("w"), pass_fds=(write,))
        os.close(write)
        with open(read, encoding="utf-8") as info:
            self.pid = json.load(info)["child-pid"]
        end = time.monotonic() + 30
        while " ready " not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.01)

    def exec(self, *words, code=0):
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), "--user", "--mount", "--net", "--pid",
             "--preserve-credentials", "--wd=/", *words],
            env={}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()


@pytest.fixture
def start(image, tmp_path):
    started = []

    def begin():
        started.append(Container(image, tmp_path))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            os.kill(one.pid, signal.SIGKILL)
            one.process.wait()


def test_it_serves_as_its_user_and_keeps_what_it_answered_in_the_volume(start):
    container = start()
    status = pathlib.Path(f"/proc/{container.pid}/status").read_text()
    assert re.search(r"^CapEff:\t0+$", status, re.M)
    assert container.exec("/usr/bin/waitctl", "ready", "hello", "--data", "world")
    container.stop()
    container = start()
    assert container.exec("/usr/bin/waitctl", "wait", "hello", "--timeout", "5s") == "world"
    container.exec("/usr/bin/waitctl", "wait", "hello", "--timeout", "10ms", code=124)
    container.stop()


def test_the_dockerfiles_health_check_tells_whether_it_serves(start):
    check = json.loads(re.search(r"CMD (\[.*\])$", said("HEALTHCHECK"))[1])
    container = start()
    assert container.exec(*check) == "SERVING\n"
    container.exec(*check[:1], "--server", "127.0.0.1:1", *check[1:], code=5)
    container.stop()


@pytest.fixture
def buildah(tmp_path):
    """buildah with a storage of its own, which goes when the test ends."""
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n')
    policy = storage / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    env = {**os.environ, "CONTAINERS_STORAGE_CONF": f"{storage}/storage.conf",
           "BUILDAH_ISOLATION": "chroot"}
    before = [] if os.geteuid() == 0 else ["buildah", "unshare"]

    def call(command, *words):
        signed = ["--signature-policy", policy] if command in ("commit", "bud") else []
        return run(*before, "buildah", command, *signed, *words, env=env).strip()

    yield call
    run(*before, "rm", "-rf", storage)
    shutil.rmtree(storage, ignore_errors=True)


def test_the_dockerfiles_last_stage_is_built_and_runs(buildah, deb, tmp_path):
    base, packages = "localhost/debian:12-slim", tmp_path / "out"
    run("mmdebstrap", "--variant=apt", "--dpkgopt=path-exclude=/usr/share/locale/*", "bookworm",
        tmp_path / "base.tar", "-", input=run(ROOT / "deploy/image/apt-sources.sh"),
        env=in_memory())
    scratch = buildah("from", "scratch")
    buildah("add", "--quiet", scratch, tmp_path / "base.tar", "/")
    buildah("commit", "--quiet", scratch, base)
    (packages / "out").mkdir(parents=True)
    shutil.copy(deb, packages / "out/waitd.deb")
    # The stage before it is the build of everything, whose result this takes the place of.
    buildah("bud", "--quiet", "--pull-never", "--format", "docker", "--target", "runtime",
            "--build-context", f"build={packages}", "--build-arg", f"DEBIAN={base}",
            "-f", ROOT / "deploy/image/Dockerfile", "-t", "waitd", ROOT / "deploy/image")
    config = json.loads(buildah("inspect", "--type", "image", "waitd"))["Docker"]["config"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/waitctl", "health", "waitd-readiness"]
    assert config["User"] == f"{USER}:{USER}"
    container = buildah("from", "--pull-never", "waitd")
    assert buildah("run", container, "--", "/usr/bin/waitd", "--version").startswith("waitd ")
    assert buildah("run", container, "--", "id", "-u") == str(USER)
    assert buildah("run", container, "--", "stat", "-c", "%u %a", "/var/lib/waitd") == f"{USER} 700"
