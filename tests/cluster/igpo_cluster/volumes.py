"""Volumes of the node: a stock of host folders behind the default StorageClass `standard`; nothing provisions more."""

import os
from typing import Any

from igpo_cluster.cluster import Cluster

POD_USER = 65532
"""hostPath ignores fsGroup, so the folders belong to the user that the pods run as."""
STORAGE_CLASS = "standard"


def add_class(cluster: Cluster) -> None:
    """Make `standard` the default StorageClass."""
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    cluster.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": STORAGE_CLASS, "annotations": default},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )


def add_volumes(cluster: Cluster, count: int) -> None:
    """Add `count` empty volumes to the stock. A volume whose claim is gone stays Released with its data."""
    parent = cluster.folder / "volumes"
    parent.mkdir(exist_ok=True)
    first = len(list(parent.iterdir()))
    cluster.apply(*(_volume(cluster, f"volume-{number}") for number in range(first, first + count)))


def _volume(cluster: Cluster, name: str) -> dict[str, Any]:
    folder = cluster.folder / "volumes" / name
    folder.mkdir(mode=0o2775)
    os.chown(folder, POD_USER, POD_USER)
    folder.chmod(0o2775)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "100Gi"},  # nominal: a folder has no limit
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }
