"""Names, labels and annotations of everything the operator makes."""

from typing import Final

from igpo_operator.api.kinds import GROUP, Kind
from igpo_trainer.spec.contract import MAX_ATTEMPT

MANAGER: Final = "igpo-operator"
"""Field manager of server-side apply, and app.kubernetes.io/managed-by."""

KIND_LABEL: Final = f"{GROUP}/kind"
RUN_LABEL: Final = f"{GROUP}/run"
ATTEMPT_LABEL: Final = f"{GROUP}/attempt"
RANK_LABEL: Final = f"{GROUP}/rank"
STAGE_LABEL: Final = f"{GROUP}/stage"
"""Only of the pod that rewrites traces."""
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"

TRAINER_CONTAINER: Final = "trainer"
METRICS_PORT_NAME: Final = "metrics"

KUEUE_QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
KUEUE_GROUP_LABEL: Final = "kueue.x-k8s.io/pod-group-name"
KUEUE_PRIORITY_LABEL: Final = "kueue.x-k8s.io/priority-class"
KUEUE_COUNT_ANNOTATION: Final = "kueue.x-k8s.io/pod-group-total-count"
KUEUE_RETRIABLE_ANNOTATION: Final = "kueue.x-k8s.io/retriable-in-group"
KUEUE_GATE_PREFIX: Final = "kueue.x-k8s.io/"

LAST_ATTEMPT: Final = MAX_ATTEMPT


def base_name(kind: Kind, run: str) -> str:
    """Name of the run's network policy and volume claim, and the beginning of its pods' names."""
    return f"{run}-{kind.short}"


def service_name(kind: Kind, run: str) -> str:
    """Name of the run's headless Service: kind first, since it has to begin with a letter and a run's name has not."""
    return f"{kind.short}-{run}"


def pod_name(kind: Kind, run: str, attempt: int, rank: int) -> str:
    """Name of one pod of a gang; `LONGEST_NAME_SUFFIX` in the contract bounds it."""
    return f"{base_name(kind, run)}-a{attempt}-{rank}"


def manifest_name(kind: Kind, run: str, digest: str) -> str:
    """Name of the ConfigMap with the manifest: its content's hash is part of it."""
    return f"{base_name(kind, run)}-{digest[:8]}"


def queue_group(kind: Kind, run: str, uid: str, epoch: int) -> str:
    """Name of Kueue's pod group: another for each object of the same name, and after each suspend."""
    return f"{base_name(kind, run)}-{uid[:5]}-{epoch}"


def run_labels(kind: Kind, run: str) -> dict[str, str]:
    """Labels of every child."""
    return {MANAGED_BY_LABEL: MANAGER, KIND_LABEL: kind.kind, RUN_LABEL: run}


def pod_labels(kind: Kind, run: str, attempt: int, rank: int) -> dict[str, str]:
    """Labels of a pod."""
    return run_labels(kind, run) | {ATTEMPT_LABEL: str(attempt), RANK_LABEL: str(rank)}
