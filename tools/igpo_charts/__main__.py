"""`python -m igpo_charts CHART…` writes values.schema.json and README.md of charts; with --check it only compares.

A few lines of our own in place of helm-docs and helm-schema: `make check` then needs nothing beyond .venv (those are
two Go programs with two dialects of comments), and settings that have a pydantic model are taken from it.
"""

import argparse
import json
import sys
from pathlib import Path

from ruamel.yaml import YAML

from igpo_charts.readme import readme_of
from igpo_charts.schema import schema_of
from igpo_charts.values import InvalidValuesError, read_values


def generated(chart: Path) -> dict[Path, str]:
    """The text of every generated file of a chart."""
    values = read_values(chart / "values.yaml")
    about = YAML(typ="safe", pure=True).load(chart / "Chart.yaml")
    subcharts = {one.get("alias", one["name"]) for one in about.get("dependencies", ())}
    schema = json.dumps(schema_of(values, subcharts), indent=2, ensure_ascii=False) + "\n"
    template = (chart / "README.in.md").read_text(encoding="utf-8")
    return {chart / "values.schema.json": schema, chart / "README.md": readme_of(template, values)}


def main(words: list[str]) -> int:
    """Write or compare; 1 if a file differs, 64 if a chart cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m igpo_charts", description=__doc__)
    parser.add_argument("charts", nargs="+", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file is not what it should be"
    )
    arguments = parser.parse_args(words)
    status = 0
    for chart in arguments.charts:
        try:
            files = generated(chart)
        except (InvalidValuesError, OSError) as problem:
            sys.stderr.write(f"igpo-charts: {problem}\n")
            return 64
        for path, text in files.items():
            if not arguments.check:
                path.write_text(text, encoding="utf-8")
            elif not path.is_file() or path.read_text(encoding="utf-8") != text:
                sys.stderr.write(f"igpo-charts: {path} is not up to date; run make generate\n")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
