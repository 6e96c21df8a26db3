"""Where pods may go: affinity, tolerations and spreading, with the Kubernetes names.

matchLabelKeys is left out: it tells the pods of one rollout from those of another, and a gang is never rolled out.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.formats import DnsLabel, LabelValue, QualifiedName
from igpo_operator.api.selection import LabelSelector, NodeSelector, NodeSelectorTerm
from igpo_trainer.spec.base import SpecModel


class PreferredNodes(SpecModel):
    """A wish for nodes."""

    weight: int = Field(ge=1, le=100, description="Weight of the wish, a number without unit.")
    preference: NodeSelectorTerm = Field(description="Nodes that are wished for.")


class NodeAffinity(SpecModel):
    """Nodes a pod may or would rather run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, description="Nodes that are allowed at all."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredNodes, ...] | None = Field(
        default=None, max_length=16, description="Wishes, weighed against each other."
    )


class PodAffinityTerm(SpecModel):
    """Pods to be near to, or away from."""

    topology_key: QualifiedName = Field(description="Node label that says what counts as one place.")
    label_selector: LabelSelector | None = Field(default=None, description="The pods that are meant.")
    namespaces: tuple[DnsLabel, ...] | None = Field(
        default=None, max_length=16, description="Namespaces of those pods. Absent: the run's own."
    )
    namespace_selector: LabelSelector | None = Field(
        default=None, description="Namespaces of those pods, chosen by label."
    )


class PreferredPods(SpecModel):
    """A wish to be near to pods, or away from them."""

    weight: int = Field(ge=1, le=100, description="Weight of the wish, a number without unit.")
    pod_affinity_term: PodAffinityTerm = Field(description="The pods that are meant.")


class PodAffinity(SpecModel):
    """Pods to be near to (podAffinity) or away from (podAntiAffinity)."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] | None = Field(
        default=None, max_length=16, description="Terms that must all hold."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredPods, ...] | None = Field(
        default=None, max_length=16, description="Wishes, weighed against each other."
    )


class Affinity(SpecModel):
    """Rules of placement."""

    node_affinity: NodeAffinity | None = Field(default=None, description="Which nodes.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Near to which pods.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Away from which pods.")


class Toleration(SpecModel):
    """A taint that does not keep the pods away."""

    key: QualifiedName | None = Field(default=None, description="Key of the taint. Absent: every taint.")
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="Exists: any value. Equal, the default: the value below."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. Absent: every effect."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="Time, in seconds, that a NoExecute taint is tolerated."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.key is None and self.operator != "Exists":
            raise ValueError("operator must be Exists where key is absent; set operator: Exists or add a key")
        if self.operator == "Exists" and self.value:
            raise ValueError("value has no meaning with operator Exists; remove one of them")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("tolerationSeconds belongs to effect NoExecute; set that effect or remove it")
        return self


class TopologySpread(SpecModel):
    """How evenly pods are spread over places."""

    max_skew: int = Field(ge=1, le=10_000, description="Largest difference in number of pods between places.")
    topology_key: QualifiedName = Field(description="Node label that says what counts as one place.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="What happens when the spread cannot be kept."
    )
    label_selector: LabelSelector | None = Field(default=None, description="The pods that are counted.")
    min_domains: int | None = Field(
        default=None, ge=1, le=10_000, description="Least number of places; needs DoNotSchedule."
    )
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether nodes that affinity excludes are left out of the count."
    )
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether nodes with taints that are not tolerated are left out of the count."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.min_domains is not None and self.when_unsatisfiable != "DoNotSchedule":
            raise ValueError("minDomains needs whenUnsatisfiable: DoNotSchedule; set it or remove minDomains")
        return self
