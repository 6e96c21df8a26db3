"""Every reason that conditions and events may carry, and every class of an attempt's end: one list each."""

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """`status.phase`, one word for a person."""

    PENDING = "Pending"
    """Accepted; the next attempt is about to be created, or waits out its back-off."""
    WAITING = "Waiting"
    """For the run that model.from names."""
    QUEUED = "Queued"
    """Pods exist but Kueue holds them back."""
    STARTING = "Starting"
    """Pods exist, not every rank runs yet."""
    REWRITING = "Rewriting"
    """The pod that rewrites traces runs; the gang follows."""
    RUNNING = "Running"
    RESTARTING = "Restarting"
    """The attempt has ended or is being stopped; another follows."""
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"

    @property
    def terminal(self) -> bool:
        """Whether nothing follows."""
        return self in (Phase.COMPLETE, Phase.FAILED)


class Stage(StrEnum):
    """What the pods of an attempt do."""

    REWRITING = "Rewriting"
    """One pod without GPUs has a teacher rewrite the traces."""
    TRAINING = "Training"
    """The gang trains."""


class ConditionType(StrEnum):
    """Types of `status.conditions`. Reconciling and Stalled are there only while true (kstatus)."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    ADMITTED = "Admitted"
    TRAINING_HEALTHY = "TrainingHealthy"


class Reason(StrEnum):
    """Reasons of conditions and events."""

    ATTEMPT_STARTED = "AttemptStarted"
    WAITING_FOR_SOURCE = "WaitingForSource"
    SOURCE_FAILED = "SourceFailed"
    SOURCE_CYCLE = "SourceCycle"
    SOURCE_VOLUME_NOT_SHARED = "SourceVolumeNotShared"
    NO_IMAGE = "NoImage"
    INVALID_SPEC = "InvalidSpec"
    INVALID_STATUS = "InvalidStatus"
    """The stored status cannot be read: another release, or a hand, has written it."""
    CRD_OUTDATED = "CRDOutdated"
    """The CRD lacks fields of this operator, which the API server would drop."""
    QUEUED = "Queued"
    ADMITTED = "Admitted"
    GANG_INCOMPLETE = "GangIncomplete"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    POD_CONFIG_ERROR = "PodConfigError"
    """A Secret, ConfigMap or volume that the pods name does not exist."""
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_REFUSED = "PodRefused"
    """An admission policy refused a pod."""
    NAME_TAKEN = "NameTaken"
    """A child's name is held by an object of another owner."""
    STARTING = "Starting"
    TRAINING = "Training"
    REWRITING = "Rewriting"
    REWRITTEN = "Rewritten"
    """The traces are rewritten: training follows."""
    FIRST_STEP_PENDING = "FirstStepPending"
    RESTARTING = "Restarting"
    BACKING_OFF = "BackingOff"
    ADOPTED = "Adopted"
    VOLUME_HOLDS_ANOTHER_RUN = "VolumeHoldsAnotherRun"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    COMPLETED = "Completed"
    INVALID_RUN = "InvalidRun"
    INVALID_DATA = "InvalidData"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    SAME_STEP_CRASH = "SameStepCrash"
    TOO_MANY_DISRUPTIONS = "TooManyDisruptions"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    HEALTHY = "Healthy"
    NON_FINITE = "NonFinite"
    POD_FORCE_DELETED = "PodForceDeleted"

    @classmethod
    def stored(cls, word: str | None, otherwise: "Reason") -> "Reason":
        """Read a word of a stored status: `otherwise` for one that a newer operator, or a hand, has written."""
        return next((reason for reason in cls if reason == word), otherwise)


FROZEN: Final = frozenset({Reason.INVALID_SPEC, Reason.INVALID_STATUS, Reason.CRD_OUTDATED})
"""Reasons of Stalled that say that the operator does nothing; over as soon as it does something again."""


class EndClass(StrEnum):
    """Why an attempt ended; decides whether backoffLimit is charged."""

    COMPLETED = "Completed"
    APPLICATION = "Application"
    """The trainer failed by itself: charged."""
    OUT_OF_MEMORY = "OutOfMemory"
    """A container was killed for memory: charged."""
    HANG = "Hang"
    """No progress for stallTimeoutSeconds: charged."""
    INVALID = "Invalid"
    """Exit 64 or 65: never retried."""
    SAVED = "Saved"
    """Exit 75 that nobody here asked for: free."""
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    DELETED = "Deleted"
    """Somebody deleted a pod: free."""
    SUSPENDED = "Suspended"
    """Our own suspend: free."""
    GANG_INCOMPLETE = "GangIncomplete"
    """Not every pod ran within preRunningDeadlineSeconds: free, with back-off."""
    REFUSED = "Refused"
    """The API server refused a pod (quota, policy): free, with back-off."""
    DEADLINE = "DeadlineExceeded"
    """activeDeadlineSeconds of running time are over: final."""
    RELEASED = "Released"
    """managed elsewhere or superseded; nothing follows from it."""

    @property
    def charged(self) -> bool:
        """Whether backoffLimit pays for it."""
        return self in (EndClass.APPLICATION, EndClass.OUT_OF_MEMORY, EndClass.HANG)

    @property
    def infrastructure(self) -> bool:
        """Whether it counts towards the (high) cap on disruptions instead."""
        return self in (
            EndClass.SAVED,
            EndClass.EVICTED,
            EndClass.PREEMPTED,
            EndClass.NODE_LOST,
            EndClass.DELETED,
        )
