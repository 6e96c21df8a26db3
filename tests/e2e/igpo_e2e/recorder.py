"""Every version of every run that the API server ever had, by a watch that starts before the first run."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from igpo_cluster.cluster import Cluster
from igpo_operator.api.kinds import GROUP, KINDS, VERSION


@dataclass
class Record:
    """What has been seen, in order."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    """Whole objects, one for each resourceVersion."""
    errors: list[str] = field(default_factory=list)
    """Breaks in the watch: versions may be missing."""

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
                    record.versions.append(event["object"])
                newest = event["object"]["metadata"]["resourceVersion"]
        except (ApiException, HTTPError) as error:
            record.errors.append(f"{plural}: {error}")
