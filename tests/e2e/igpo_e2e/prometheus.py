"""A Prometheus in the cluster, asked by its HTTP API."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

Labels = dict[str, str]


@dataclass(frozen=True)
class Prometheus:
    """One that answers at `url`."""

    url: str

    def now(self, expr: str) -> list[tuple[Labels, float]]:
        """The series of an instant query, each with its value."""
        found = self._get("query", query=expr)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def value(self, expr: str) -> float:
        """The value of a query that has one series."""
        found = self.now(expr)
        assert len(found) == 1, f"{expr}: {found}"
        return found[0][1]

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes."""
        return list(self._get("targets", state="active")["activeTargets"])

    def rules(self) -> list[dict[str, Any]]:
        """The rules that it has loaded, recordings and alerts."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as problem:
            raise AssertionError(f"{parameters}: {problem.read().decode()}") from problem
