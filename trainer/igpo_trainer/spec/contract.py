"""The pod contract: everything the operator and the trainer must agree on, written once.

Paths, environment, exit codes, ports, the termination message and the JSON of `/status`.
"""

from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

API_VERSION: Final = "igpo.dev/v1alpha1"

MAX_ATTEMPT: Final = 999
"""Attempts of one run at most; the number is part of every pod's name."""
LONGEST_NAME_SUFFIX: Final = f"-lasft-a{MAX_ATTEMPT}-9999"
"""What the operator appends to a run's name at most: kind, attempt, pod index."""
MAX_NAME_LENGTH: Final = 63 - len(LONGEST_NAME_SUFFIX)
"""Longest metadata.name of a run, in characters, so that every generated name is a DNS label."""
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
CONFIG_KEY: Final = r"^[-._a-zA-Z0-9]+$"
"""A key of a Secret or ConfigMap."""

MANIFEST_PATH: Final = Path("/etc/igpo/run.yaml")
VOLUME_PATH: Final = Path("/var/lib/igpo")
FROM_VOLUME_PATH: Final = Path("/var/lib/igpo-from")
TERMINATION_LOG_PATH: Final = Path("/dev/termination-log")
TERMINATION_MESSAGE_BYTES: Final = 4096

RENDEZVOUS_PORT: Final = 29500
"""Where the pod of node rank 0 listens for the others."""
METRICS_PORT: Final = 9400
METRICS_LINGER_SECONDS: Final = 60.0

RUN_ID_VARIABLE: Final = "IGPO_RUN_ID"
ATTEMPT_VARIABLE: Final = "IGPO_ATTEMPT"
GRACE_VARIABLE: Final = "IGPO_GRACE_SECONDS"
EXIT_FILE_VARIABLE: Final = "IGPO_EXIT_DIR"
TEACHER_API_KEY_VARIABLE: Final = "IGPO_TEACHER_API_KEY"
"""Where the key of spec.rewrite.teacher.apiKeySecretRef is put, for the container that rewrites and no other."""

RESERVED_VARIABLES: Final = frozenset(
    {
        "MASTER_ADDR",
        "MASTER_PORT",
        "WORLD_SIZE",
        "RANK",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "ROLE_RANK",
        "ROLE_WORLD_SIZE",
    }
)
"""Variables of a pod that the operator or torchrun sets: a manifest may not."""
RESERVED_VARIABLE_PREFIXES: Final = ("PET_", "IGPO_", "TORCHELASTIC_", "TORCH_ELASTIC_")
"""And every variable that begins with one of these. HF_HOME and the rest may be set."""
RESERVED_VOLUME_PREFIX: Final = "igpo-"
"""Volumes of a pod whose name begins so are the operator's."""
RESERVED_MOUNT_PATHS: Final = (
    str(MANIFEST_PATH.parent),
    str(VOLUME_PATH),
    str(FROM_VOLUME_PATH),
    "/dev/shm",  # noqa: S108  # a mount point, not a file
    "/tmp",  # noqa: S108
)
"""Folders that the operator mounts: nothing else may be mounted at or below them."""
RESERVED_KEY_PREFIXES: Final = ("igpo.dev/", "kueue.x-k8s.io/")
"""Labels and annotations of pods that begin with one of these are the operator's and Kueue's."""

CHECKPOINTS_DIR: Final = "checkpoints"
FINAL_DIR: Final = "final"
BEST_DIR: Final = "best"
METRICS_FILE: Final = "metrics.jsonl"
SAMPLES_FILE: Final = "samples.jsonl"
EVALUATIONS_DIR: Final = "evaluations"
SUMMARY_FILE: Final = "summary.json"
REPORT_FILE: Final = "report.html"
RUN_FILE: Final = "run.json"
REWRITTEN_DIR: Final = "rewritten"
"""The teacher's answers and what was kept of them. Complete when it holds REWRITE_RESULT_FILE."""
REWRITE_RESULT_FILE: Final = "result.json"


class ExitCode(IntEnum):
    """What the trainer's exit means to the operator."""

    DONE = 0
    FAILED = 1
    INVALID_RUN = 64
    INVALID_DATA = 65
    SAVED_ON_SIGTERM = 75


class Cause(StrEnum):
    """What went wrong, for a program; the reason is the same for a person. Causes are added, never renamed."""

    VOLUME_HOLDS_ANOTHER_RUN = "VolumeHoldsAnotherRun"
    VOLUME_NOT_WRITABLE = "VolumeNotWritable"
    SOURCE_NOT_FINISHED = "SourceNotFinished"
    """The folder of model.from holds no finished model."""
    FENCED_OFF = "FencedOff"
    """A newer attempt owns the folder."""
    DISK_FULL = "DiskFull"
    NON_FINITE = "NonFinite"
    """Loss or gradient is infinite or not a number."""
    PEER_LOST = "PeerLost"
    """A collective failed because another rank has gone: that one's end is the cause."""


class _Message(BaseModel):
    """Unknown fields are passed over: trainer and operator may be of different versions."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class CheckpointStatus(_Message):
    """A complete checkpoint."""

    step: int
    path: str = Field(description="Its folder, as the trainer sees it.")
    digest: str = Field(description="sha256 over the checkpoint's files, hex.")
    complete: bool = True


class RewriteStatus(_Message):
    """How far the rewriting of traces is; counts of rows and tokens are over all attempts of the run."""

    rows: int = Field(default=0, description="Traces to rewrite, equal ones once.")
    done: int = Field(default=0, description="Of them, those that the teacher has answered or refused.")
    cached: int = Field(default=0, description="Of those done, the ones answered before this process started.")
    kept: int = Field(default=0, description="Rewrites that verify and fit, as far as they have been looked at.")
    dropped: int = Field(default=0, description="Rewrites that do not.")
    requests: int = Field(default=0, description="Requests that this process has sent, repeated ones included.")
    retries: int = Field(default=0, description="Of them, those that repeat a failed one.")
    tokens: int = Field(default=0, description="The teacher's tokens spent, read and written.")
    token_budget: int | None = Field(default=None, description="spec.rewrite.tokenBudget.")
    rows_per_second: float | None = Field(default=None, description="Answers of this process over its time.")
    eta_seconds: float | None = None


class TerminationMessage(_Message):
    """What every container writes to its termination log, at most 4096 bytes of JSON."""

    code: int = Field(description="Exit code of the container, one of ExitCode or the worker's own.")
    reason: str = Field(description="One line for a person: the value, the limit, the next action.")
    step: int | None = Field(default=None, description="Last finished step; absent before the first.")
    cause: str | None = Field(default=None, description="One of Cause; absent where the code says it all.")
    checkpoint: str | None = Field(default=None, description="Folder name of the last complete checkpoint.")
    latest: CheckpointStatus | None = Field(
        default=None, description="The last complete checkpoint; of a finished run, that of `final/`."
    )
    best: CheckpointStatus | None = Field(
        default=None,
        description="The highest-scored complete checkpoint; of a finished run, what model.from with Best loads.",
    )
    rewrite: RewriteStatus | None = Field(default=None, description="Of the container that rewrites only.")
    last_lines: list[str] = Field(default_factory=list, description="Tail of the log, oldest first.")

    def encode(self) -> bytes:
        """JSON of at most TERMINATION_MESSAGE_BYTES; old log lines go first, then the reason is cut."""
        message = self
        while len(data := message.model_dump_json().encode()) > TERMINATION_MESSAGE_BYTES:
            if message.last_lines:
                message = message.model_copy(update={"last_lines": message.last_lines[1:]})
            elif message.reason:
                message = message.model_copy(update={"reason": message.reason[: len(message.reason) // 2]})
            else:
                message = message.model_copy(update={"checkpoint": None, "latest": None, "best": None})
        return data


class TrainerStatus(_Message):
    """Body of `GET /status` on global rank 0."""

    stage: str = Field(description="Same values as the igpo_trainer_state metric.")
    step: int = 0
    planned_steps: int = 0
    attempt: int = 1
    run_id: str = ""
    progress: int = Field(default=0, description="igpo_trainer_progress_total: moves whenever work is done.")
    eta_seconds: float | None = None
    adopted: bool = Field(default=False, description="The folder held this run under another run id.")
    spec_hash: str = Field(default="", description="As in run.json, hex.")
    model_revision: str | None = Field(default=None, description="Commit of the hub model; None for another source.")
    dataset_revision: str | None = Field(default=None, description="Commit of the hub data set, if known.")
    checkpoint: CheckpointStatus | None = Field(
        default=None, description="The newest complete one; of a finished run, that of `final/`."
    )
    best: CheckpointStatus | None = Field(
        default=None,
        description="The highest-scored complete one; of a finished run, what model.from with Best loads.",
    )
    rewrite: RewriteStatus | None = Field(default=None, description="While and after traces are rewritten.")
    metrics: dict[str, float] = Field(default_factory=dict, description="Finite all-reduced values only.")
    non_finite: list[str] = Field(
        default_factory=list, description="Metrics of the last step that are infinite or not a number, by name."
    )
