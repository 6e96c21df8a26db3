"""`status` of both kinds. Only the operator writes it; every deadline is computed from the times in here."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from igpo_operator.api.reasons import EndClass, Phase, Stage


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]
"""A moment in UTC, whole seconds, as Kubernetes writes it."""


class StatusModel(BaseModel):
    """One object of status. Unknown fields of a newer operator are ignored, so that a downgrade can read them."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True
    )


class Condition(StatusModel):
    """metav1.Condition."""

    type: str = Field(max_length=64)
    status: str = Field(max_length=7, description="True, False or Unknown.")
    reason: str = Field(max_length=64)
    message: str = Field(default="", max_length=2048)
    last_transition_time: Time
    observed_generation: int | None = None


class ProgressStatus(StatusModel):
    """How far the run is, as rank 0 last said."""

    step: int = Field(default=0, description="Last finished step.")
    planned_steps: int | None = Field(default=None, description="Steps of the whole run.")
    percentage: int | None = Field(default=None, description="step over plannedSteps, whole percent.")
    eta_seconds: int | None = Field(default=None, description="Estimated time to the end, in seconds.")
    stage: str | None = Field(default=None, max_length=32, description="What the trainer is doing.")
    counter: int = Field(default=0, description="igpo_trainer_progress_total when it was last recorded.")
    moved_at: Time | None = Field(default=None, description="When the operator last saw the counter move.")


class CheckpointView(StatusModel):
    """A complete checkpoint on the run's volume."""

    step: int = Field(description="Step of the checkpoint.")
    path: str | None = Field(default=None, max_length=512, description="Folder on the volume.")
    digest: str | None = Field(default=None, max_length=128, description="sha256 of its files, hex.")
    saved_at: Time | None = Field(default=None, description="When the operator first saw it.")


class Ending(StatusModel):
    """Why the current attempt is being stopped, or has ended: written before anything is deleted for it."""

    reason_class: EndClass = Field(alias="class", description="Class of the end; decides what is charged.")
    rank: int | None = Field(default=None, description="Pod index of the first cause.")
    exit_code: int | None = Field(default=None, description="Exit code of container trainer in that pod.")
    message: str = Field(default="", max_length=2048, description="The trainer's or the operator's own line.")
    cause: str | None = Field(default=None, max_length=64, description="Reason of the trainer's error, if it gave one.")
    step: int | None = Field(default=None, description="Last finished step.")
    last_lines: list[str] = Field(default_factory=list, max_length=20, description="Tail of the failing log.")
    at: Time = Field(description="When the operator decided it.")


class RewritingStatus(StatusModel):
    """The stage before training, over all of its attempts; counts as its pod last said."""

    hash: str = Field(max_length=64, description="sha256 of what the rewrites depend on in spec, hex.")
    attempt: int = Field(description="The attempt that rewrites, or last did.")
    rows: int = Field(default=0, description="Traces to rewrite, equal ones once.")
    done: int = Field(default=0, description="Of them, those that the teacher has answered or refused.")
    cached: int = Field(default=0, description="Of those done, the ones answered before that attempt.")
    kept: int = Field(default=0, description="Rewrites that verify and fit, as far as they have been looked at.")
    dropped: int = Field(default=0, description="Rewrites that do not.")
    tokens: int = Field(default=0, description="The teacher's tokens spent, read and written.")
    token_budget: int | None = Field(default=None, description="spec.rewrite.tokenBudget.")
    eta_seconds: int | None = Field(default=None, description="Estimated time to the end, in seconds.")
    finished_at: Time | None = Field(default=None, description="When it was done; it is not run again.")


class AttemptStatus(StatusModel):
    """The current attempt: one gang of pods, or the pod that rewrites."""

    number: int = Field(description="1, 2, …; part of every pod's name.")
    stage: Stage = Field(default=Stage.TRAINING, description="What its pods do.")
    decided_at: Time = Field(description="When the attempt was decided.")
    not_before: Time | None = Field(default=None, description="Back-off: pods are not created before.")
    created_at: Time | None = Field(default=None, description="When every pod of the gang had been created.")
    scheduled_at: Time | None = Field(default=None, description="When the first pod was scheduled.")
    running_at: Time | None = Field(default=None, description="When every rank was first running.")
    ending: Ending | None = Field(default=None, description="Set once the attempt is over or being stopped.")


class AttemptRecord(StatusModel):
    """One line of the ledger of past attempts."""

    number: int
    stage: Stage = Stage.TRAINING
    reason_class: EndClass = Field(alias="class")
    rank: int | None = None
    exit_code: int | None = None
    step: int | None = None
    checkpoint_step: int | None = None
    message: str = Field(default="", max_length=1024)
    last_lines: list[str] = Field(default_factory=list, max_length=10)
    started_at: Time | None = None
    ended_at: Time
    running_seconds: int = 0
    workers: int | None = Field(default=None, description="Number of pods.")
    image: str | None = Field(default=None, max_length=512)


class RestartCounts(StatusModel):
    """Restarts since the beginning, by cause."""

    total: int = 0
    application: int = Field(default=0, description="Charged: failures, out of memory, hangs.")
    infrastructure: int = Field(default=0, description="Free: evictions, preemptions, lost nodes, deleted pods.")
    scheduling: int = Field(default=0, description="Free: incomplete gangs and refused pods.")
    suspended: int = Field(default=0, description="Free: our own suspends.")


class Budget(StatusModel):
    """What is left of backoffLimit, reset by checkpoint progress; while traces are rewritten, by further answers."""

    charged: int = Field(default=0, description="Charged failures since the last checkpoint progress.")
    disruptions: int = Field(default=0, description="Free restarts since the last checkpoint progress.")
    waits: int = Field(default=0, description="Consecutive incomplete or refused gangs; sets the back-off.")
    checkpoint_step: int | None = Field(default=None, description="Newest checkpoint at the last charge.")
    failed_step: int | None = Field(default=None, description="Step of the last application failure.")
    rewritten_rows: int | None = Field(default=None, description="Traces that were rewritten at the last charge.")


class SourceStatus(StatusModel):
    """What model.from was resolved to, at attempt 1 and for good."""

    kind: str = Field(max_length=63)
    name: str = Field(max_length=253)
    uid: str = Field(max_length=64)
    checkpoint: str = Field(max_length=16, description="Best or Final.")
    step: int | None = None
    digest: str | None = Field(default=None, max_length=128)
    claim_name: str = Field(max_length=253, description="Volume claim that holds it.")
    sub_path: str | None = Field(default=None, max_length=512)


class Resolved(StatusModel):
    """Provenance: what this run really is, fixed at attempt 1 (image: again when changed while suspended)."""

    image: str = Field(max_length=512, description="Trainer image of the current attempt.")
    image_digest: str | None = Field(default=None, max_length=256, description="imageID that the kubelet pulled.")
    seed: int | None = None
    spec_hash: str | None = Field(default=None, max_length=64, description="As in run.json on the volume.")
    model_revision: str | None = Field(default=None, max_length=128)
    dataset_revision: str | None = Field(default=None, max_length=128)
    operator_version: str | None = Field(default=None, max_length=64)
    source: SourceStatus | None = None
    claim_name: str | None = Field(default=None, max_length=253, description="The run's own volume claim.")
    queue_epoch: int = Field(default=0, description="How often the run has left Kueue's pod group for a new one.")
    adopted: bool = Field(default=False, description="The volume already held this run, from another object.")


class Replicas(StatusModel):
    """Pods of the current attempt."""

    desired: int = 0
    running: int = 0
    finished: int = 0


class RunStatus(StatusModel):
    """The whole of `status`."""

    observed_generation: int | None = None
    phase: Phase = Phase.PENDING
    message: str | None = Field(default=None, max_length=2048, description="One sentence: what happens, what to do.")
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    attempt: AttemptStatus | None = None
    attempts: list[AttemptRecord] = Field(default_factory=list, max_length=10, description="Past ones, oldest first.")
    restarts: RestartCounts = Field(default_factory=RestartCounts)
    budget: Budget = Field(default_factory=Budget)
    rewriting: RewritingStatus | None = Field(default=None, description="With spec.rewrite only.")
    progress: ProgressStatus | None = None
    metrics: dict[str, str] = Field(default_factory=dict, description="Decimal strings, 4 significant digits.")
    checkpoint: CheckpointView | None = None
    best_checkpoint: CheckpointView | None = None
    replicas: Replicas | None = None
    resolved: Resolved | None = None
    start_time: Time | None = Field(default=None, description="When the first attempt's pods were first all running.")
    completion_time: Time | None = Field(default=None, description="When the run became Complete or Failed.")
    running_seconds: int = Field(default=0, description="Running time of finished attempts, for activeDeadlineSeconds.")
    last_update_time: Time | None = Field(
        default=None, description="When status was last written; limits how often progress alone is."
    )
    released: bool = Field(default=False, description="ttlSecondsAfterFinished is over and the pods are removed.")

    @classmethod
    def read(cls, status: dict[str, Any] | None) -> "RunStatus":
        """Read the live object's status; an empty one is a new run's."""
        return cls.model_validate(status or {})

    def dump(self) -> dict[str, Any]:
        """As JSON for the API server: camelCase, without what is absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
