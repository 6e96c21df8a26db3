"""A program as an image: one static executable and nothing else."""

import hashlib

from igpo_cluster import programs
from igpo_cluster.cluster import Cluster
from igpo_cluster.containerd import ctr
from igpo_cluster.image_layout import single_file_image
from igpo_cluster.progress import timed


def load(cluster: Cluster, name: str) -> str:
    """Give the node of `cluster` an image of the program `name` as `/bin/<name>`, and return its reference.

    The node keeps the newest one: its tag is a hash of the executable.
    """
    executable = programs.locate(name)
    with executable.open("rb") as file:
        tag = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    repository = f"igpo.dev/{name}"
    reference = f"{repository}:{tag}"
    images = ctr(cluster.folder, "images", "list", "-q").split()
    if reference in images:
        return reference
    with timed(f"give the image {name} to the node"):
        for old in images:
            if old.startswith(f"{repository}:"):
                ctr(cluster.folder, "images", "remove", old)
        archive = cluster.folder / f"{name}.tar"
        single_file_image(archive, reference, executable, "bin/")
        ctr(cluster.folder, "images", "import", archive)
        archive.unlink()
    return reference
