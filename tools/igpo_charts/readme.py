"""README.md of a chart: README.in.md with the table of values in it."""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from igpo_charts.values import Value

PLACE: Final = "<!-- values -->"
"""The line of README.in.md that the table takes the place of."""
_HEAD: Final = "| value | default | meaning |\n|---|---|---|\n"


def readme_of(template: str, values: Iterable[Value]) -> str:
    """The text of README.md."""
    return template.replace(PLACE, _HEAD + "".join(_rows("", values)).rstrip("\n"))


def _rows(parent: str, values: Iterable[Value]) -> Iterator[str]:
    for value in values:
        path = f"{parent}{value.name}"
        if value.text:
            yield f"| `{path}` | {_default(value)} | {_cell(_meaning(value))} |\n"
        yield from _rows(f"{path}.", value.children)


def _meaning(value: Value) -> str:
    choices = value.directive.get("enum")
    if not choices or any(f"`{choice}`" in value.text for choice in choices):
        return value.text
    return f"{value.text.removesuffix('.')}: {', '.join(f'`{choice}`' for choice in choices)}."


def _default(value: Value) -> str:
    if value.shown_default is not None:
        return _cell(value.shown_default)
    return "" if value.default is None or value.children else f"`{_cell(_json(value.default))}`"


def _json(default: object) -> str:
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return json.dumps(default, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
