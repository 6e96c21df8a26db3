"""One run on the cluster: read it, change it, wait for it. Every wait is a watch with a deadline."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from kubernetes import client, watch

from igpo_cluster.cluster import Cluster
from igpo_cluster.waiting import until
from igpo_operator.api.kinds import GROUP, VERSION, kind_named
from igpo_operator.render.names import ATTEMPT_LABEL, KIND_LABEL, RANK_LABEL, RUN_LABEL

Body = dict[str, Any]
CHILDREN = "pods,services,configmaps,networkpolicies,persistentvolumeclaims"
START_SECONDS = 240.0
"""From pods to the first step: two processes import torch on two cores."""


class NeverHappenedError(AssertionError):
    """What was waited for did not come; the message has all there is to see."""


@dataclass(frozen=True)
class Run:
    """A custom resource, named."""

    cluster: Cluster
    kind: str
    namespace: str
    name: str

    @property
    def plural(self) -> str:
        """As in the URL."""
        return kind_named(self.kind).plural

    def apply(self, manifest: Body) -> "Run":
        """Server-side apply, as kubectl does it."""
        self.cluster.kubectl("apply", "--server-side", "-n", self.namespace, "-f", "-", stdin=manifest)
        return self

    def body(self) -> Body:
        """The object as it is now."""
        found = self._api.get_namespaced_custom_object(GROUP, VERSION, self.namespace, self.plural, self.name)
        return cast("Body", found)

    def status(self) -> Body:
        """Its status; empty before the operator has seen it."""
        return dict(self.body().get("status") or {})

    def exists(self) -> bool:
        """Whether the object is there."""
        return bool(self.cluster.kubectl("get", self.plural, self.name, "-n", self.namespace, "--ignore-not-found"))

    def patch(self, spec: Body) -> None:
        """Merge into spec, as `kubectl patch --type=merge`."""
        self._api.patch_namespaced_custom_object(GROUP, VERSION, self.namespace, self.plural, self.name, {"spec": spec})

    def delete(self) -> None:
        """Delete the object and wait until it is gone."""
        self.cluster.kubectl("delete", self.plural, self.name, "-n", self.namespace, "--timeout=60s")

    def pods(self, attempt: int | None = None) -> list[Body]:
        """Its pods, of one attempt or of all, by attempt and rank."""
        selector = f"{KIND_LABEL}={self.kind},{RUN_LABEL}={self.name}"
        if attempt is not None:
            selector += f",{ATTEMPT_LABEL}={attempt}"
        found = self.cluster.items("pods", "-n", self.namespace, "-l", selector)
        return sorted(found, key=lambda pod: [int(pod["metadata"]["labels"][name]) for name in _ORDER])

    def pod(self, rank: int, attempt: int | None = None) -> Body:
        """The pod of one rank, of the current attempt unless told."""
        number = attempt or self.status()["attempt"]["number"]
        return next(pod for pod in self.pods(number) if pod["metadata"]["labels"][RANK_LABEL] == str(rank))

    def wait_pods(self, what: str, holds: Callable[[list[Body]], bool], within: float = 60.0) -> list[Body]:
        """Look at all its pods until they are as asked."""

        def look() -> list[list[Body]] | None:
            pods = self.pods()
            return [pods] if holds(pods) else None

        return until(look, f"{self.name}: {what}", within, every=0.5)[0]

    def children(self) -> list[str]:
        """Kinds of everything that the operator made for this run and that is not going away, sorted."""
        selector = f"{KIND_LABEL}={self.kind},{RUN_LABEL}={self.name}"
        found = self.cluster.items(CHILDREN, "-n", self.namespace, "-l", selector)
        return sorted(item["kind"] for item in found)

    def wait_children(self, kinds: list[str], within: float = 60.0) -> None:
        """Look until these kinds are what is left."""
        until(lambda: self.children() == kinds, f"{self.name}: children {kinds}", within, every=0.5)

    def events(self) -> list[Body]:
        """Events about the object, oldest first."""
        uid = self.body()["metadata"]["uid"]
        found = self.cluster.items("events.events.k8s.io", "-n", self.namespace)
        return sorted(
            (event for event in found if event["regarding"].get("uid") == uid),
            key=lambda event: event["metadata"]["creationTimestamp"],
        )

    def wait(self, what: str, holds: Callable[[Body], bool], within: float = START_SECONDS) -> Body:
        """Watch until `holds(object)`; return the object then.

        Raises:
            NeverHappenedError: the deadline passed, or the run ended first.
        """
        deadline = time.monotonic() + within
        seen: Body = {}
        while (left := deadline - time.monotonic()) > 0:
            watcher: Any = watch.Watch()  # type: ignore[no-untyped-call]
            stream = watcher.stream(
                self._api.list_namespaced_custom_object,
                GROUP,
                VERSION,
                self.namespace,
                self.plural,
                field_selector=f"metadata.name={self.name}",
                timeout_seconds=max(1, int(left)),
            )
            for event in stream:
                if event["type"] not in ("ADDED", "MODIFIED"):
                    continue
                seen = event["object"]
                if holds(seen):
                    watcher.stop()
                    return seen
                if over(seen):
                    raise NeverHappenedError(f"{self.name} ended before {what}:\n{self._picture(seen)}")
                if time.monotonic() > deadline:
                    break
        raise NeverHappenedError(f"not within {within:.0f} s: {self.name}: {what}\n{self._picture(seen)}")

    def wait_phase(self, phase: str, within: float = START_SECONDS) -> Body:
        """Watch until status.phase is `phase`; return the status."""
        return dict(self.wait(f"phase {phase}", lambda run: phase_of(run) == phase, within)["status"])

    def wait_condition(self, kind: str, within: float = START_SECONDS, reason: str | None = None) -> Body:
        """Watch until a condition is True (with this reason); return the condition."""

        def holds(run: Body) -> bool:
            found = condition(run, kind)
            return bool(found) and found["status"] == "True" and reason in (None, found["reason"])

        return condition(self.wait(f"condition {kind} {reason or ''}", holds, within), kind)

    def wait_step(self, step: int, attempt: int = 1, within: float = START_SECONDS) -> Body:
        """Watch until the status shows at least `step`, in this attempt; return the status."""

        def holds(run: Body) -> bool:
            status = run.get("status") or {}
            return (
                status.get("attempt", {}).get("number") == attempt
                and status.get("phase") == "Running"
                and status.get("progress", {}).get("step", 0) >= step
            )

        return dict(self.wait(f"step {step} of attempt {attempt}", holds, within)["status"])

    def wait_checkpoint(self, step: int, within: float = START_SECONDS) -> Body:
        """Watch until the status names a checkpoint of at least `step`; return the status."""

        def holds(run: Body) -> bool:
            return int(((run.get("status") or {}).get("checkpoint") or {}).get("step", 0)) >= step

        return dict(self.wait(f"checkpoint {step}", holds, within)["status"])

    def wait_complete(self, within: float = 2 * START_SECONDS) -> Body:
        """Watch until Complete; return the status."""
        self.wait_condition("Complete", within)
        return self.status()

    def wait_failed(self, reason: str, within: float = START_SECONDS) -> Body:
        """Watch until Failed with this reason; return the status."""
        self.wait_condition("Failed", within, reason)
        return self.status()

    def wait_released(self, within: float = START_SECONDS) -> Body:
        """Watch until what the TTL takes has gone; return the status."""
        until(lambda: self.status().get("released"), f"{self.name}: released", within, every=0.5)
        return self.status()

    def _picture(self, seen: Body) -> str:
        pods = [
            {"name": pod["metadata"]["name"], "deleted": pod["metadata"].get("deletionTimestamp"), **pod["status"]}
            for pod in self.pods()
        ]
        return json.dumps({"status": seen.get("status"), "pods": pods}, indent=1)

    @property
    def _api(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self.cluster.api)


_ORDER = (ATTEMPT_LABEL, RANK_LABEL)


def phase_of(run: Body) -> str:
    """status.phase, or nothing yet."""
    return str((run.get("status") or {}).get("phase", ""))


def over(run: Body) -> bool:
    """Whether nothing follows any more."""
    return phase_of(run) in ("Complete", "Failed")


def condition(run: Body, kind: str) -> Body:
    """One condition of the run, or nothing."""
    conditions = (run.get("status") or {}).get("conditions", [])
    return next((dict(found) for found in conditions if found["type"] == kind), {})
