"""Why an attempt does not run yet, in the words of whoever knows: scheduler, kubelet, API server."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from igpo_operator.api.reasons import Reason
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.observed import Pod, Refusal, Waiting

PATIENCE: Final = timedelta(seconds=10)
"""A pod younger than this is not complained about: schedulers and kubelets need a moment."""
_IMAGE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "ImageInspectError",
        "SignatureValidationFailed",
    }
)
_CONFIG: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "ContainerCannotRun",
        "FailedMount",
        "FailedAttachVolume",
    }
)
_REPEATED: Final = frozenset({"ImagePullBackOff"})
"""What the kubelet says between two tries: it tells less than the try itself, and both alternate for ever."""
MOUNTING: Final = timedelta(seconds=90)
"""Time for volumes, Secrets, ConfigMaps and the network of a placed pod."""
_MISSING_CLAIM: Final = re.compile(r'persistentvolumeclaim "[^"]*" (not found|is being deleted)')
_QUOTA: Final = re.compile(r"exceeded quota: .*", re.DOTALL)
_CHARACTERS: Final = 700


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a pod from running."""

    reason: Reason
    message: str
    stalled: bool
    repeated: bool = False
    """Says nothing new to somebody who has read of the same reason."""


def obstacle(gang: Gang, now: datetime) -> tuple[Obstacle | None, datetime | None]:
    """The worst obstacle of any pod, and when the next pod becomes old enough to be complained about."""
    found = [(trouble, since) for pod in gang.pods if (trouble := _of(pod)) is not None and (since := _since(pod))]
    due = [trouble for trouble, since in found if since <= now]
    later = [since for _, since in found if since > now]
    return min(due, key=lambda trouble: not trouble.stalled, default=None), min(later, default=None)


def _since(pod: Pod) -> datetime:
    """When a pod's trouble is worth a word."""
    if _unready(pod) and pod.scheduled_at is not None:
        return pod.scheduled_at + MOUNTING
    return pod.created_at + PATIENCE


def _unready(pod: Pod) -> bool:
    return pod.ready_to_start is False and pod.node is not None and _waits_plainly(pod)


def _waits_plainly(pod: Pod) -> bool:
    return pod.trainer is None or (
        isinstance(pod.trainer, Waiting) and pod.trainer.reason in ("", "ContainerCreating", "PodInitializing")
    )


def _of(pod: Pod) -> Obstacle | None:
    if pod.unschedulable is not None and pod.node is None and not pod.gates:
        return _unplaced(pod, steady(pod.unschedulable))
    if _unready(pod):
        text = (
            f"pod {pod.name} is on node {pod.node}, but its volumes or network are not ready: a Secret, ConfigMap or "
            f"claim that it names may be missing; see kubectl describe pod {pod.name}"
        )
        return Obstacle(Reason.POD_CONFIG_ERROR, text, stalled=True)
    if not isinstance(pod.trainer, Waiting):
        return None
    words = steady(pod.trainer.message)
    text = f"pod {pod.name}: {pod.trainer.reason}" + (f": {words}" if words else "")
    if pod.trainer.reason in _IMAGE:
        hint = "check the image's name, its registry and workers.imagePullSecrets"
        repeated = pod.trainer.reason in _REPEATED
        return Obstacle(Reason.IMAGE_UNAVAILABLE, f"{text}; {hint}", stalled=True, repeated=repeated)
    if pod.trainer.reason in _CONFIG:
        hint = "create what is missing, or start a new run without it"
        return Obstacle(Reason.POD_CONFIG_ERROR, f"{text}; {hint}", stalled=True)
    return None


def _unplaced(pod: Pod, words: str) -> Obstacle:
    if _MISSING_CLAIM.search(words):
        text = f"pod {pod.name} cannot be placed: {words}; create the claim, or name another one"
        return Obstacle(Reason.POD_CONFIG_ERROR, text, stalled=True)
    text = f"pod {pod.name} cannot be placed: {words or 'the scheduler gives no reason'}"
    return Obstacle(Reason.UNSCHEDULABLE, f"{text}; it starts as soon as a node fits", stalled=False)


def steady(words: str) -> str:
    """A message without what changes at every try, so that a stuck run is written once."""
    text = re.sub(r"\bback-off [0-9hms.]+ ", "back-off ", words)
    text = re.sub(r"\bback-off [0-9hms.]+$", "back-off", text)
    text = re.sub(r"\d+(\.\d+){3}:\d+->", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "…", text)
    text = re.sub(r"\b(not found)(\. not found)+", r"\1", text)  # the scheduler ends its own list with a full stop
    text = re.sub(r"\b(uid|UID)[ :=]+[0-9a-f-]{36}", r"\1 …", text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".")[:_CHARACTERS]


def refusal_reason(refusal: Refusal) -> Reason:
    """Quota (403 with the quota's words), a name that is taken (409), or a policy or the schema (everything else)."""
    if refusal.code == 409:
        return Reason.NAME_TAKEN
    if refusal.code == 403 and _QUOTA.search(refusal.message):
        return Reason.QUOTA_EXCEEDED
    return Reason.POD_REFUSED


def refusal_message(refusal: Refusal) -> str:
    """What the API server said, with its numbers, and what to do."""
    reason = refusal_reason(refusal)
    words = steady(refusal.message)
    if reason is Reason.QUOTA_EXCEEDED:
        quota = _QUOTA.search(words)
        said = quota[0] if quota else words
        return f"{said}; raise the ResourceQuota, free some of it, or ask for less"
    if reason is Reason.NAME_TAKEN:
        return f"{words}; delete or rename the other object, or give this run another name"
    return f"the API server refuses an object of the gang: {words}; change the policy or the run"
