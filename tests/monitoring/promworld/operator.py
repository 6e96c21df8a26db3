"""What the operator exports, by its own code."""

import re
from pathlib import Path

from prometheus_client.core import Metric
from ruamel.yaml import YAML

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.clock import SystemClock
from igpo_operator.apply.metrics import OperatorMetrics, RunCollector

_ROOT = Path(__file__).parents[3]


def exported_names() -> set[str]:
    """Names of all series that it can have: of runs in every situation on record, and of the process."""
    metrics, cache = OperatorMetrics(), Cache(SystemClock())
    for number, path in enumerate(sorted((_ROOT / "tests" / "data" / "status").glob("*.yaml"))):
        status = YAML(typ="safe", pure=True).load(path)
        cache.put_run(
            body(path.stem, "IGPOTraining", status, created="2026-03-01T12:00:00Z", version=number + 1), Source.WATCH
        )
    metrics.registry.register(RunCollector(cache, lambda _uid: None))
    metrics.observe_reconcile("IGPOTraining", "ok", 0.1)
    families: list[Metric] = list(metrics.registry.collect())
    found = {name for family in families for name in _series_names(family)}
    return found | computed_when_scraped()


def body(name: str, kind: str, status: dict[str, object], *, created: str, version: int) -> dict[str, object]:
    """A custom resource as a watch delivers it."""
    metadata = {
        "namespace": "lab",
        "name": name,
        "uid": f"00000000-0000-0000-0000-{abs(hash((kind, name))) % 10**12:012d}",
        "generation": 1,
        "resourceVersion": str(version),
        "creationTimestamp": created,
    }
    return {"apiVersion": "igpo.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {}, "status": status}


def _series_names(family: Metric) -> set[str]:
    parts = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
    return {family.name + part for part in parts}


def computed_when_scraped() -> set[str]:
    """Gauges that main registers with a function."""
    text = (_ROOT / "operator" / "igpo_operator" / "main.py").read_text()
    return set(re.findall(r'gauge\(\s*"(igpo_operator_\w+)"', text))
