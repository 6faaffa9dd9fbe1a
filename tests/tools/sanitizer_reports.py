"""A pytest plugin: a sanitizer's report of any process that a test runs fails that test.

With WAITD_SANITIZER_REPORTS naming a folder, every process under test writes its reports there, not to
its stderr: of a process whose exit code or stderr nobody looks at they would be lost. Leaks are found
when a process ends, so that those of a server which tests share are found when the run does. Without
the variable the plugin does nothing.
"""

import os
import pathlib
import shutil

import pytest

_FOLDER = os.environ.get("WAITD_SANITIZER_REPORTS") and os.path.abspath(
    os.environ["WAITD_SANITIZER_REPORTS"])

_SUPPRESSED = pathlib.Path(__file__).with_name("lsan.supp").resolve()


def _reports():
    """What was reported since the last asking."""
    found = []
    for path in sorted(pathlib.Path(_FOLDER).iterdir()) if _FOLDER else ():
        found.append(path.read_text(errors="replace"))
        path.unlink()
    return found


def pytest_configure(config):
    del config
    if not _FOLDER:
        return
    shutil.rmtree(_FOLDER, ignore_errors=True)
    os.makedirs(_FOLDER)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
        given = os.environ.get(name)
        own = f"log_path={_FOLDER}/report:print_stacktrace=1"
        if name == "LSAN_OPTIONS":
            own += f":suppressions={_SUPPRESSED}:print_suppressions=0"
        os.environ[name] = f"{given}:{own}" if given else own


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Of the last phase, when what a test started for itself has ended."""
    del item
    outcome = yield
    report = outcome.get_result()
    if call.when == "teardown" and (reports := _reports()):
        report.outcome = "failed"
        report.longrepr = "\n".join([*reports, str(report.longrepr or "")])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Whatever was reported outside a test."""
    for report in _reports():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\n" + report)
