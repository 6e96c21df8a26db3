"""Server-side dry runs over kept connections."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from igpo_operator.api.kinds import GROUP, VERSION, kind_named

_PARALLEL = 6


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    code: int
    body: dict[str, Any]

    @property
    def accepted(self) -> bool:
        return self.code in (200, 201)

    @property
    def causes(self) -> list[tuple[str, str]]:
        """(field, message) of each complaint; a strict decoding error names the field in its text."""
        causes = (self.body.get("details") or {}).get("causes") or []
        return [(cause.get("field", ""), cause.get("message", "")) for cause in causes] or [("", self.body["message"])]


class ApiServer:
    """The runs of one namespace."""

    def __init__(self, cluster, namespace: str = "default") -> None:
        self.cluster = cluster
        self.namespace = namespace

    def within(self, namespace: str) -> "ApiServer":
        return ApiServer(self.cluster, namespace)

    def create(self, manifest: dict[str, Any], *, dry_run: bool = True) -> Answer:
        return self._send("POST", manifest, "", dry_run=dry_run)

    def replace(self, manifest: dict[str, Any], *, dry_run: bool = True) -> Answer:
        return self._send("PUT", manifest, f"/{manifest['metadata']['name']}", dry_run=dry_run)

    def create_all(self, manifests: list[dict[str, Any]]) -> list[Answer]:
        """Dry runs, several at a time, in the given order."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(self.create, manifests))

    def _send(self, verb: str, manifest: dict[str, Any], name: str, *, dry_run: bool) -> Answer:
        client = self.cluster.api
        plural = kind_named(manifest["kind"]).plural
        query = "fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        url = f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{plural}{name}?{query}"
        response = client.rest_client.pool_manager.request(
            verb,
            client.configuration.host + url,
            body=json.dumps(manifest),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        return Answer(response.status, json.loads(response.data))
