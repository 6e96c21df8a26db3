"""The Kubernetes resources that the operator touches, and the paths they lie under."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from igpo_operator.api.kinds import GROUP, KINDS, VERSION, Kind


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object as the API server serves it."""

    group: str
    """Empty: the core group."""
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As in manifests: group/version, or the version alone."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of a collection, one object or a part of it; namespace None: of all, or of a cluster-wide kind."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part is not None]
        return "/".join(parts)


PODS: Final = Resource("", "v1", "pods", "Pod")
SERVICES: Final = Resource("", "v1", "services", "Service")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NODES: Final = Resource("", "v1", "nodes", "Node")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
SELF_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
RUNS: Final[Mapping[str, Resource]] = {kind.kind: Resource(GROUP, VERSION, kind.plural, kind.kind) for kind in KINDS}
_CHILDREN: Final = {r.kind: r for r in (PODS, SERVICES, CONFIG_MAPS, CLAIMS, NETWORK_POLICIES, EVENTS, LEASES)}


def runs_of(kind: Kind) -> Resource:
    """The custom resource of a kind of run."""
    return RUNS[kind.kind]


def child_resource(kind: str) -> Resource:
    """Find the resource of a child by its `kind`, e.g. Service."""
    return _CHILDREN[kind]


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """Find the resource that a manifest is of."""
    return RUNS.get(manifest["kind"]) or _CHILDREN[manifest["kind"]]
