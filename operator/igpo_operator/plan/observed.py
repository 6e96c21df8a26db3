"""Everything a plan may look at: one immutable picture of a run, its pods and its surroundings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from igpo_operator.api.kinds import Kind
from igpo_operator.api.status import RunStatus
from igpo_operator.render.network_policy import DEFAULT_SCRAPERS, Peer
from igpo_trainer.spec.contract import TerminationMessage, TrainerStatus


@dataclass(frozen=True, slots=True)
class Waiting:
    """Container trainer has not started."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Container trainer runs."""

    since: datetime


@dataclass(frozen=True, slots=True)
class Terminated:
    """Container trainer has ended: this, never the pod phase, is a rank's result."""

    exit_code: int
    reason: str = ""
    """The kubelet's word, e.g. OOMKilled."""
    message: TerminationMessage | None = None
    """What the trainer left in its termination log; None when it left nothing that can be read."""
    raw_message: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Disruption:
    """Condition DisruptionTarget, or Kueue's TerminationTarget."""

    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a gang, as far as plans care."""

    name: str
    uid: str
    resource_version: str
    attempt: int
    rank: int
    phase: str
    created_at: datetime
    reason: str = ""
    """status.reason, e.g. Evicted or NodeLost."""
    message: str = ""
    node: str | None = None
    ip: str | None = None
    scheduled_at: datetime | None = None
    unschedulable: str | None = None
    """The scheduler's message while the pod cannot be placed."""
    gates: tuple[str, ...] = ()
    """Names of scheduling gates: Kueue's while the gang waits for quota."""
    deleted_at: datetime | None = None
    """When deletion was asked for: deletionTimestamp minus the grace period."""
    gone_by: datetime | None = None
    """deletionTimestamp: when the kubelet should have killed what was left."""
    disruption: Disruption | None = None
    trainer: Waiting | Running | Terminated | None = None
    ready_to_start: bool | None = None
    """Condition PodReadyToStartContainers: False while volumes, Secrets or the network are not there yet."""
    accompanied: bool = False
    """Whether another container of the pod, a sidecar, has not ended."""
    image_id: str | None = None
    retriable: str | None = None
    """Value of Kueue's retriable-in-group annotation."""
    queued: bool = False
    """Whether the pod belongs to a Kueue pod group."""

    @property
    def terminal(self) -> bool:
        """Whether nothing of the trainer runs any more: its container has ended, or the pod has without starting it."""
        return isinstance(self.trainer, Terminated) or self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Run:
    """One custom resource."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime
    spec: Mapping[str, Any]
    """As stored: camelCase, with the schema's defaults."""
    status: RunStatus
    deleting: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """(kind, namespace, name)."""
        return self.kind.kind, self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Scrape:
    """What rank 0 of the current attempt last said."""

    attempt: int
    status: TrainerStatus
    at: datetime
    """When it said so."""
    moved_at: datetime
    """When the operator last saw its progress counter move; the first scrape counts as a move."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server would not create something of the current attempt."""

    attempt: int
    code: int
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What the operator is and was told, the same for all runs."""

    trainer_image: str
    """Image for runs that name none; empty: none is configured."""
    version: str
    started_at: datetime
    """When this operator process began: no hang is declared for the time before."""
    linger_seconds: float = 60.0
    """How long a trainer keeps its last metrics up."""
    progress_interval_seconds: float = 30.0
    """Least time between status writes that only move progress, metrics or partial replica counts."""
    restart_base_seconds: float = 10.0
    """First back-off after a charged failure; doubles up to restart_max_seconds."""
    restart_max_seconds: float = 300.0
    wait_base_seconds: float = 60.0
    """First back-off after an incomplete or refused gang; doubles up to wait_max_seconds."""
    wait_max_seconds: float = 900.0
    disruption_limit: int = 100
    """Free restarts without checkpoint progress before a run fails."""
    may_read_nodes: bool = True
    scrapers: tuple[Peer, ...] = DEFAULT_SCRAPERS
    """Who may read the trainers' metrics, as peers of a NetworkPolicy."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The picture."""

    run: Run
    pods: tuple[Pod, ...]
    """Pods that this very object (by UID) controls, any attempt."""
    facts: Facts
    now: datetime
    source: Run | None = None
    """The run that model.from names; None when it does not exist (or is not named)."""
    source_chain: tuple[tuple[str, str], ...] = ()
    """(kind, name) of the source, its source, and so on; ends at the first that repeats."""
    scrape: Scrape | None = None
    refusal: Refusal | None = None
    lacking: str | None = None
    """Fields that the installed CRD lacks, so that the API server would drop them."""
    node_ready: Mapping[str, bool] = field(default_factory=dict)
    """Ready condition of nodes that hold overdue pods; absent: unknown or not allowed to look."""
