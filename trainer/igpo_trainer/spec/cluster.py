"""Fields of spec that matter on a cluster only: the trainer accepts them and the operator's schema checks them."""

from typing import Final

CLUSTER_FIELDS: Final = frozenset({"image", "storage", "runPolicy", "managedBy"})
"""Fields of spec."""

CLUSTER_WORKER_FIELDS: Final = frozenset(
    {
        "affinity",
        "annotations",
        "env",
        "envFrom",
        "extraResources",
        "hostNetwork",
        "imagePullPolicy",
        "imagePullSecrets",
        "labels",
        "nodeSelector",
        "podSecurityContext",
        "resources",
        "runtimeClassName",
        "schedulerName",
        "securityContext",
        "serviceAccountName",
        "shmSize",
        "tolerations",
        "topologySpreadConstraints",
        "volumeMounts",
        "volumes",
    }
)
"""Fields of spec.workers, beside replicas and gpusPerWorker."""
