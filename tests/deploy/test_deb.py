"""The Debian package: what lintian says, and a life of it in a scratch root made by mmdebstrap."""

import re

import pytest
from deb_tools import ROOT, in_memory, make_deb, run


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    return make_deb(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def found(deb):
    """What deb_check.sh found, by heading. With mmdebstrap's modes it needs no root here."""
    depends = re.sub(r" \([^)]*\)|\s", "", run("dpkg-deb", "-f", deb, "Depends"))
    sources = run(ROOT / "deploy/image/apt-sources.sh")
    out = deb.parent / "found"
    run("mmdebstrap", "--variant=essential", "--format=null", f"--include={depends}",
        "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=force-unsafe-io",
        f"--customize-hook=upload {deb} /waitd.deb",
        f"--customize-hook=upload {ROOT / 'tests/deploy/deb_check.sh'} /check.sh",
        f'--customize-hook=chroot "$1" sh /check.sh > {out}',
        "bookworm", "-", "-", input=sources, env=in_memory())
    parts = re.split(r"^== (.*)\n", out.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_its_name_has_version_and_architecture(deb):
    version = re.search(r"^project\(waitd VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(),
                        re.M)[1]
    architecture = run("dpkg", "--print-architecture").strip()
    assert deb.name == f"waitd_{version}_{architecture}.deb"
    assert (ROOT / "deploy/debian/changelog").read_text().startswith(f"waitd ({version})")


def test_lintian_finds_no_error_and_no_warning(deb):
    assert run("lintian", "--allow-root", "--fail-on=error,warning", deb) == ""


def test_the_libraries_that_it_needs_are_found_by_what_it_links(deb):
    depends = run("dpkg-deb", "-f", deb, "Depends")
    for library in ("libgrpc++1.51", "librocksdb7.8", "libc6"):
        assert library in depends


def test_the_same_build_gives_the_same_package(deb, tmp_path):
    assert make_deb(tmp_path).read_bytes() == deb.read_bytes()


def test_it_brings_what_it_says_owned_by_root(found):
    added = [line.split(" ") for line in found["added"].splitlines()]
    assert {line[3]: line[1] for line in added
            if line[0] == "f" and "/deb-systemd-helper-enabled/" not in line[3]} == {
        "/etc/default/waitd": "644", "/etc/waitd/edge.conf": "644", "/etc/waitd/waitd.conf": "644",
        "/usr/bin/waitctl": "755", "/usr/bin/waitd": "755",
        "/usr/lib/systemd/system/waitd-edge.service": "644",
        "/usr/lib/systemd/system/waitd.service": "644",
        "/usr/share/doc/waitd/changelog.gz": "644", "/usr/share/doc/waitd/copyright": "644",
        "/usr/share/man/man1/waitctl.1.gz": "644", "/usr/share/man/man8/waitd.8.gz": "644"}
    assert {line[2] for line in added} == {"root:root"}


def test_its_service_is_enabled_and_the_edge_is_not(found):
    assert re.search(r"^l .* /etc/systemd/system/multi-user.target.wants/waitd.service "
                     r"(/usr)?/lib/systemd/system/waitd.service$", found["added"], re.M)
    assert "wants/waitd-edge" not in found["added"]


def test_its_files_are_as_the_package_has_them(found):
    assert found["verified"] == ""


def test_its_programs_run_in_the_root(found):
    version = re.search(r"VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text().split("project(")[1])
    assert found["version"].split() == ["waitd", version[1], "waitctl", version[1]]


def test_waitd_serves_as_nobody_with_the_default_configuration(found):
    assert found["served"].splitlines()[-2:] == ["world", "ended with 0"]


def test_installing_it_again_keeps_what_was_configured(found):
    assert found["reinstalled"].splitlines() == ["log-level = debug", "enabled", "edge enabled"]


def test_removal_leaves_configuration_and_data_and_purge_leaves_nothing(found):
    left = {line.split(" ")[3] for line in found["left after removal"].splitlines()}
    assert {"/etc/default/waitd", "/etc/waitd/edge.conf", "/etc/waitd/waitd.conf", "/var/lib/private/waitd"} <= left
    assert not [path for path in left if path.startswith(("/usr/", "/lib/"))]
    assert found["left after purge"] == ""


def test_purge_empties_a_store_that_is_a_disk_of_its_own():
    """rm cannot take away where something is mounted, and dpkg would leave the package half purged."""
    script = ROOT / "deploy/debian/postrm"
    left = run("unshare", "--map-root-user", "--mount", "sh", "-euc", f"""
        mount -t tmpfs tmpfs /var/lib
        mkdir -p /var/lib/private/waitd
        ln -s private/waitd /var/lib/waitd
        mount -t tmpfs tmpfs /var/lib/private/waitd
        mkdir /var/lib/private/waitd/rocksdb
        touch /var/lib/private/waitd/waitd-store /var/lib/private/waitd/rocksdb/.lock
        sh {script} purge 2>/dev/null
        find /var/lib
        """)
    assert left.splitlines() == ["/var/lib", "/var/lib/private", "/var/lib/private/waitd"]
