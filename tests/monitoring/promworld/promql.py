"""What a PromQL expression asks for."""

from collections.abc import Iterator
from typing import Any

import promql_parser

_CHILDREN = ("lhs", "rhs", "expr", "param", "vector_selector")
_CHANGES = {"rate", "increase", "irate", "changes"}


def parsed(expr: str) -> Any:
    """The tree; ValueError for what is no PromQL."""
    return promql_parser.parse(expr)


def nodes(node: Any) -> Iterator[Any]:
    """The node and all below it."""
    yield node
    for child in _children(node):
        yield from nodes(child)


def selectors(expr: str) -> Iterator[Any]:
    """Every selector of series."""
    for node in nodes(parsed(expr)):
        if isinstance(node, promql_parser.VectorSelector):
            yield node


def names(selector: Any) -> list[str]:
    """The metrics that a selector asks for; an alternation of names counts as each."""
    if selector.name:
        return [selector.name]
    return [name for m in selector.matchers.matchers if m.name == "__name__" for name in m.value.split("|")]


def bare_counters(expr: str) -> list[str]:
    """Counters and parts of histograms that are not inside a function that takes their changes."""
    return [
        name
        for selector in _outside(parsed(expr))
        for name in names(selector)
        if name.endswith(("_total", "_bucket", "_sum", "_count"))
    ]


def windows(expr: str) -> Iterator[tuple[str, float]]:
    """Each function over a range: its name and the seconds that it looks back."""
    for node in nodes(parsed(expr)):
        if isinstance(node, promql_parser.Call):
            for argument in node.args:
                if isinstance(argument, promql_parser.MatrixSelector):
                    yield node.func.name, argument.range.total_seconds()


def _outside(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    if not (isinstance(node, promql_parser.Call) and node.func.name in _CHANGES):
        for child in _children(node):
            yield from _outside(child)


def _children(node: Any) -> Iterator[Any]:
    found = [getattr(node, name, None) for name in _CHILDREN]
    if isinstance(node, promql_parser.Call):
        found += list(node.args)
    for child in found:
        if child is not None and not isinstance(child, str):
            yield child
