#!/usr/bin/python3
"""Brings the chart in step with what it repeats: its README with the comments in values.yaml, and its
rules, its dashboard and its edge with deploy/prometheus, deploy/grafana and deploy/edge, for a package
holds only what is below its own folder. With --check it changes nothing, and fails if there is something to change."""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parent / "waitd"
BEGIN, END = "<!-- values: by deploy/helm/sync.py -->", "<!-- end of the values -->"
COPIES = {"waitd.rules.yaml": "prometheus/waitd.rules.yaml",
          "waitd.dashboard.json": "grafana/waitd.json",
          "edge.conf": "edge/nginx.conf"}


def default(value):
    """As it would be typed on one line."""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def defaults(value, path):
    """The value at a dotted path, which is there."""
    for key in path.split("."):
        value = value[key]
    return value


def documented(text):
    """Yields (path, comment) of each key, and (None, comment) of what begins a section."""
    comment, path, is_list_below = [], [], None
    for line in text.splitlines():
        key = re.match(r"( *)([A-Za-z]\w*):", line)
        indent = len(line) - len(line.lstrip())
        if is_list_below is not None and line.strip() and indent <= is_list_below:
            is_list_below = None
        if line.lstrip().startswith("# "):
            comment.append(line.lstrip()[2:])
        elif line.strip() == "#":
            comment.append("")
        elif not line.strip():
            if comment and comment[0].startswith("## "):
                yield None, "\n".join(comment)
            comment = []
        elif key and is_list_below is None:
            del path[indent // 2:]
            path.append(key[2])
            if comment:
                yield ".".join(path), " ".join(comment)
            comment = []
        elif line.lstrip().startswith("- ") and is_list_below is None:
            is_list_below = indent - 1


def table(text):
    values = yaml.safe_load(text)
    found = list(documented(text))
    described = {path for path, _ in found if path}
    for path in leaves(values):
        parts = path.split(".")
        if not any(".".join(parts[:n + 1]) in described for n in range(len(parts))):
            raise SystemExit(f"values.yaml: nothing is said of {path}")
    head = "\n| value | default | what it is |\n|---|---|---|\n"
    lines = [head]
    for path, comment in found:
        if path is None:
            lines.append(f"\n#{comment}\n{head}")
            continue
        value = defaults(values, path)
        has_rows_below = any(other.startswith(path + ".") for other in described)
        shown = "" if has_rows_below else default(value)
        lines.append(f"| `{path}` | {shown} | {comment.replace('|', chr(92) + '|')} |\n")
    return "".join(lines)


def leaves(value, path=""):
    if not isinstance(value, dict) or not value:
        yield path
        return
    for key, below in value.items():
        yield from leaves(below, f"{path}.{key}" if path else key)


def readme(before):
    """The README with the table of now."""
    head, _, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise SystemExit(f"README.md has no place for the values: {BEGIN} {END}")
    return f"{head}{BEGIN}\n{table((CHART / 'values.yaml').read_text())}\n{END}{tail}"


def main():
    wanted = {CHART / "README.md": readme((CHART / "README.md").read_text())}
    for copy, source in COPIES.items():
        source = CHART.parents[1] / source
        wanted[CHART / "files" / copy] = source.read_text() if source.exists() else None
    stale = [path for path, text in wanted.items()
             if (path.read_text() if path.exists() else None) != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(CHART.parent)} is out of step: run deploy/helm/sync.py")
        sys.exit(1 if stale else 0)
    for path in stale:
        if wanted[path] is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path])


if __name__ == "__main__":
    main()
