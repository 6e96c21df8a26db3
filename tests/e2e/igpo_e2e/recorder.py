"""Every version of every run that the API server ever had, by a watch that starts before the first run.

Replacing the CRDs makes the server forget older versions: the watch then goes on with what there is.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from igpo_cluster.cluster import Cluster
from igpo_operator.api.kinds import GROUP, KINDS, VERSION

_PAUSE_SECONDS = 0.2
"""Between a break in the watch and the next attempt."""


@dataclass
class Record:
    """What has been seen, in order."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    """Whole objects, one for each resourceVersion."""
    errors: list[str] = field(default_factory=list)
    """Breaks in the watch for which there was no reason: versions may be missing."""
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, version: dict[str, Any]) -> None:
        """Keep a version, unless it is known."""
        identity = version["metadata"]["uid"], version["metadata"]["resourceVersion"]
        if identity not in self._seen:
            self._seen.add(identity)
            self.versions.append(version)

    def of(self, uid: str) -> list[dict[str, Any]]:
        """Versions of one object."""
        return [version for version in self.versions if version["metadata"]["uid"] == uid]


@contextmanager
def recording(cluster: Cluster) -> Iterator[Record]:
    """Record both kinds in all namespaces until the block ends."""
    record = Record()
    watchers: list[Any] = [watch.Watch() for _ in KINDS]  # type: ignore[no-untyped-call]
    ended = threading.Event()
    threads = [
        threading.Thread(target=_follow, args=(cluster, watcher, kind.plural, record, ended), daemon=True)
        for watcher, kind in zip(watchers, KINDS, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield record
    finally:
        ended.set()
        for watcher in watchers:
            watcher.stop()
        for thread in threads:
            thread.join(15)


def _follow(cluster: Cluster, watcher: Any, plural: str, record: Record, ended: threading.Event) -> None:
    api = client.CustomObjectsApi(cluster.api)
    newest = "0"
    while not ended.is_set():
        try:
            stream = watcher.stream(
                api.list_cluster_custom_object, GROUP, VERSION, plural, resource_version=newest, timeout_seconds=10
            )
            for event in stream:
                if event["type"] in ("ADDED", "MODIFIED"):
                    record.add(event["object"])
                newest = event["object"]["metadata"]["resourceVersion"]
        except (ApiException, HTTPError) as error:
            if isinstance(error, ApiException) and error.status == HTTPStatus.GONE:
                newest = "0"
            else:
                record.errors.append(f"{plural}: {error}")
            ended.wait(_PAUSE_SECONDS)
