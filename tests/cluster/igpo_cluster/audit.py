"""The apiserver's audit log: who asked for what, to count what a run costs the apiserver."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "verbs": sorted(WRITES),
            "resources": [
                {"group": "igpo.dev"},
                {
                    "group": "",
                    "resources": ["pods", "pods/*", "services", "configmaps", "persistentvolumeclaims", "events"],
                },
                {"group": "events.k8s.io"},
                {"group": "networking.k8s.io"},
                {"group": "coordination.k8s.io"},
                {"group": "scheduling.k8s.io"},
                {"group": "kueue.x-k8s.io"},
            ],
        },
        {"level": "Metadata", "userGroups": ["igpo.dev/audited"]},
        {"level": "None"},
    ],
}
"""Writes to what a run is made of, by anybody; every request of users in the group igpo.dev/audited, reads too."""


@dataclass(frozen=True)
class Request:
    """One answered request."""

    at: datetime
    user: str
    agent: str
    verb: str
    namespace: str
    resource: str
    """With the subresource, as `pods/status`."""
    name: str
    code: int

    @property
    def write(self) -> bool:
        """Whether it could change something."""
        return self.verb in WRITES


@dataclass(frozen=True)
class AuditLog:
    """The log file; reading starts at `offset` bytes, so a test counts from the moment it took its mark."""

    path: Path
    offset: int = 0

    def mark(self) -> "AuditLog":
        """The same log from now on."""
        return AuditLog(self.path, self.path.stat().st_size if self.path.exists() else 0)

    def requests(self) -> Iterator[Request]:
        """The requests since the mark, oldest first."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for line in file:
                if line.endswith(b"\n"):
                    yield _request(json.loads(line))

    def writes(self, user: str | None = None, namespace: str | None = None) -> list[Request]:
        """The writes since the mark, of one user or in one namespace if named; a service account's name is whole."""
        return [
            request
            for request in self.requests()
            if request.write and user in {None, request.user} and namespace in {None, request.namespace}
        ]


def _request(event: dict[str, object]) -> Request:
    target, user, status = (_part(event, key) for key in ("objectRef", "user", "responseStatus"))
    subresource = f"/{target['subresource']}" if "subresource" in target else ""
    return Request(
        at=datetime.fromisoformat(str(event["requestReceivedTimestamp"]).replace("Z", "+00:00")),
        user=str(user.get("username", "")),
        agent=str(event.get("userAgent", "")),
        verb=str(event["verb"]),
        namespace=str(target.get("namespace", "")),
        resource=f"{target.get('resource', '')}{subresource}",
        name=str(target.get("name", "")),
        code=int(str(status.get("code", 0))),
    )


def _part(event: dict[str, object], key: str) -> dict[str, object]:
    part = event.get(key)
    return part if isinstance(part, dict) else {}
