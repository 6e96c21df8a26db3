"""model.from: is the source there, finished and reachable, and what exactly is taken from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from igpo_operator.api.kinds import kind_named
from igpo_operator.api.reasons import Phase, Reason
from igpo_operator.api.status import SourceStatus
from igpo_operator.plan.observed import Observed, Run
from igpo_operator.plan.terms import Terms
from igpo_operator.render.names import base_name
from igpo_trainer.spec.model import CheckpointSource

_SHARED: Final = frozenset({"ReadWriteMany", "ReadOnlyMany"})


@dataclass(frozen=True, slots=True)
class Link:
    """The source as it is: resolved, or what is in the way."""

    source: SourceStatus | None = None
    reason: Reason | None = None
    """None once it is resolved."""
    message: str = ""
    stalled: bool = False
    """A person must act; otherwise waiting helps."""


def resolve(observed: Observed, wanted: CheckpointSource, terms: Terms) -> Link:
    """Look at the run that model.from names."""
    name = f"{wanted.kind}/{wanted.name}"
    if cycle := _cycle(observed):
        text = f"model.from leads in a circle ({cycle}), so none of these runs can start; delete one of them"
        return Link(reason=Reason.SOURCE_CYCLE, message=text, stalled=True)
    run = observed.source
    if run is None:
        text = f"waits for {name}, which does not exist in namespace {observed.run.namespace}; create it"
        return Link(reason=Reason.WAITING_FOR_SOURCE, message=text)
    if run.deleting:
        return Link(
            reason=Reason.WAITING_FOR_SOURCE, message=f"waits for {name}, which is being deleted; create it again"
        )
    if run.status.phase is Phase.FAILED:
        text = f"{name}, which model.from names, has failed: {_last_message(run)}; delete it and create it anew"
        return Link(reason=Reason.SOURCE_FAILED, message=text, stalled=True)
    if run.status.phase is not Phase.COMPLETE:
        return Link(reason=Reason.WAITING_FOR_SOURCE, message=f"waits for {name} to complete; it is {run.status.phase}")
    return _taken(run, wanted, terms)


def _taken(run: Run, wanted: CheckpointSource, terms: Terms) -> Link:
    storage: Mapping[str, Any] = run.spec.get("storage") or {}
    modes: Sequence[str] = storage.get("accessModes") or ("ReadWriteOnce",)
    resolved = run.status.resolved
    claim = (resolved.claim_name if resolved else None) or storage.get("claimName") or base_name(run.kind, run.name)
    if terms.replicas > 1 and not storage.get("claimName") and not _SHARED & set(modes):
        text = (
            f"{terms.replicas} workers must read claim {claim} of {wanted.kind}/{wanted.name}, which is {modes[0]}: "
            "one node at a time; use 1 worker here, or run the source on a ReadWriteMany volume"
        )
        return Link(reason=Reason.SOURCE_VOLUME_NOT_SHARED, message=text, stalled=True)
    status = run.status
    view = (status.best_checkpoint if wanted.checkpoint == "Best" else None) or status.checkpoint
    return Link(
        SourceStatus(
            kind=wanted.kind,
            name=wanted.name,
            uid=run.uid,
            checkpoint=wanted.checkpoint,
            step=view.step if view else None,
            digest=view.digest if view else None,
            claim_name=claim,
            sub_path=storage.get("subPath"),
        )
    )


def _cycle(observed: Observed) -> str:
    """The circle in words, or nothing: the chain meets this run, or a run that it has met before."""
    run = observed.run
    path = [(run.kind.kind, run.name)]
    for kind, name in observed.source_chain:
        if (kind, name) in path:
            return " → ".join(f"{kind_named(kind).short}/{name}" for kind, name in [*path, (kind, name)])
        path.append((kind_named(kind).kind, name))
    return ""


def _last_message(run: Run) -> str:
    return (run.status.message or "no reason is given").rstrip(".")[:512]
