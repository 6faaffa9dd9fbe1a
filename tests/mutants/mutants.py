#!/usr/bin/env python3
"""Plants the bugs of `list` in a copy of the core, one at a time, and sees whether a test fails.

A bug survives when no test fails. That is an error, unless the list gives a reason why no test can see
it. Run by `make mutants`; with words as arguments, only the bugs whose file or lines have one of them.
"""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPY = ROOT / "build" / "mutants"
PROGRAM = COPY / "build" / "tests" / "unit" / "core" / "core_test"

# The random ones take longest and see most: only what survives the others gets there.
SLOW = ["Stress*", "Walk.*", "Save.EachSignal*", "*AMillion*", "TimerWheelBound.*"]
ROUNDS = [("-" + ":".join(SLOW), 60), (":".join(SLOW), 300)]


@dataclasses.dataclass
class Mutant:
    file: str = ""
    old: str = ""
    new: str = ""
    reason: str = ""

    def title(self):
        return f"{self.file}: {self.old.strip()} -> {self.new.strip() or '(nothing)'}"


def read_list():
    """Blocks with an empty line between them: the file, - what is there, + what is planted, = a reason."""
    mutants = []
    for block in (HERE / "list").read_text().split("\n\n"):
        mutant = Mutant()
        for line in block.splitlines():
            mark, text = line[:2], line[2:]
            if mark == "@ ":
                mutant.file = text
            elif mark == "- ":
                mutant.old += ("\n" if mutant.old else "") + text
            elif mark.rstrip() == "+":
                mutant.new += ("\n" if mutant.new else "") + text
            elif mark == "= ":
                mutant.reason = (mutant.reason + " " + text).strip()
            elif mark[:1] != "#":
                sys.exit(f"list: a line that says nothing: {line}")
        if mutant.file:
            mutants.append(mutant)
    return mutants


def copy_sources():
    """Only what differs is written, so that only that is compiled."""
    wanted = {pathlib.Path("CMakeLists.txt"): HERE / "CMakeLists.txt"}
    for folder, pattern in [("core", "*"), ("tests/unit/core", "*"), ("tests/conformance", "*_test.cc")]:
        for path in (ROOT / folder).glob(pattern):
            if path.is_file():
                wanted[path.relative_to(ROOT)] = path
    for name, path in wanted.items():
        to = COPY / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists() or to.read_bytes() != path.read_bytes():
            shutil.copyfile(path, to)
    for folder in ["core", "tests"]:
        for path in (COPY / folder).rglob("*"):
            if path.is_file() and path.relative_to(COPY) not in wanted:
                path.unlink()


def build():
    command = ["ninja", "-C", COPY / "build", "core_test"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fails(test_filter, seconds):
    """What failed first, or that it took too long; None: nothing."""
    command = [PROGRAM, "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={test_filter}"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return "time is over"
    if run.returncode == 0:
        return None
    failed = [line for line in run.stdout.splitlines() if "FAILED  ]" in line]
    return failed[0].split("]")[1].strip() if failed else f"exit code {run.returncode}"


def killed_by():
    for test_filter, seconds in ROUNDS:
        failed = fails(test_filter, seconds)
        if failed:
            return failed
    return None


def plant(mutant):
    """Returns by what it was killed, or None."""
    path = COPY / mutant.file
    source = path.read_text()
    if source.count(mutant.old) != 1:
        sys.exit(f"list: not in {mutant.file} exactly once: {mutant.old}")
    path.write_text(source.replace(mutant.old, mutant.new))
    try:
        built = build()
        return killed_by() if built.returncode == 0 else "the compiler"
    finally:
        path.write_text(source)


def main():
    words = sys.argv[1:]
    chosen = [each for each in read_list() if not words or any(word in each.title() for word in words)]
    copy_sources()
    configure = ["cmake", "-G", "Ninja", "-S", COPY, "-B", COPY / "build"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    built = build()
    if built.returncode != 0:
        sys.exit(built.stdout)
    failed = killed_by()
    if failed:
        sys.exit(f"the tests fail without any bug: {failed}")
    survivors = []
    for number, mutant in enumerate(chosen, 1):
        begin = time.monotonic()
        by = plant(mutant)
        took = f"{time.monotonic() - begin:.0f} s"
        print(f"{number}/{len(chosen)} {'killed by ' + by if by else 'SURVIVES'} ({took}): {mutant.title()}", flush=True)
        if by is None:
            survivors.append(mutant)
    unexplained = [each for each in survivors if not each.reason]
    print(f"\n{len(chosen)} bugs, {len(chosen) - len(survivors)} killed, {len(survivors)} survive.")
    for each in survivors:
        print(f"  {each.title()}\n    {each.reason or 'NO REASON: a test is missing'}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
