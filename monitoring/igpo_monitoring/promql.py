"""The few shapes of PromQL that panels are made of: every selector names the runs, every sum keeps them apart."""

from typing import Final

RUN: Final = "namespace, kind, training"
"""What tells runs apart: a LengthAlignedSFT and an IGPOTraining may have the same name."""
SELECTED: Final = 'namespace=~"$namespace", kind=~"$kind", training=~"$training"'
LEGEND: Final = "{{training}}"
"""For metrics that only one kind has."""
LEGEND_KIND: Final = "{{kind}} {{training}}"


def of_runs(name: str, *matchers: str) -> str:
    """Select the series of `name` that belong to the chosen runs; further matchers as in `stage="initial"`."""
    return f"{name}{{{', '.join([*matchers, SELECTED])}}}"


def last(name: str, *matchers: str, by: str = "") -> str:
    """The gauge by run: the pods of two attempts, one of them lingering, make one series."""
    return f"max by ({_labels(by)}) ({of_runs(name, *matchers)})"


def rate(name: str, *matchers: str, by: str = "") -> str:
    """Events per second by run."""
    return f"sum by ({_labels(by)}) (rate({of_runs(name, *matchers)}[$__rate_interval]))"


def count(name: str, *matchers: str, by: str = "") -> str:
    """Events between two points of a graph, by run."""
    return f"sum by ({_labels(by)}) (increase({of_runs(name, *matchers)}[$__rate_interval]))"


def share(part: str, whole: str) -> str:
    """`part` over `whole`, absent where there is nothing to divide by."""
    return f"{part} / ({whole} > 0)"


def quantile(q: float, name: str, *matchers: str, by: str = "") -> str:
    """A quantile of a histogram by run."""
    buckets = of_runs(f"{name}_bucket", *matchers)
    return f"histogram_quantile({q}, sum by ({_labels(by)}, le) (rate({buckets}[$__rate_interval])))"


def _labels(more: str) -> str:
    return f"{RUN}, {more}" if more else RUN
