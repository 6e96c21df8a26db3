"""The images of this repository: built by buildah from its Dockerfiles, and given to the node.

Both steps are incremental. Buildah keeps the layer of dependencies as long as the requirements stay; containerd is only
handed the blobs that it lacks, so a change of code costs seconds although the trainer's image has gigabytes.
"""

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from igpo_cluster import builder
from igpo_cluster.base_image import base_image
from igpo_cluster.builder import buildah, host_mounts
from igpo_cluster.cache import cache_folder, locked
from igpo_cluster.cluster import Cluster
from igpo_cluster.containerd import ctr, ctr_words
from igpo_cluster.errors import ClusterError
from igpo_cluster.image_layout import add_blob, add_index, named
from igpo_cluster.progress import timed
from igpo_cluster.stored_image import StoredImage

ROOT = Path(__file__).parents[3]
INPUTS = ("pyproject.toml", "README.md", "LICENSE", "images", "trainer", "operator", ".dockerignore")
"""What images are made of."""
_VERSIONS = 4
_COLD = {"operator": "1 min", "trainer": "6 min the first time, 15 s after a change of code"}


@dataclass(frozen=True)
class Images:
    """References of the images that the node has."""

    operator: str
    trainer: str

    @classmethod
    def load(cls, cluster: Cluster, root: Path = ROOT) -> "Images":
        """Build what is out of date in `root` and give it to the node of `cluster`."""
        return cls(*(load(cluster, name, root) for name in ("operator", "trainer")))


def load(cluster: Cluster, name: str, root: Path = ROOT) -> str:
    """Build the image `name` from `root` unless it is up to date, give it to the node and return its reference.

    Raises:
        ClusterError: a package is missing, or buildah fails.
    """
    reference = reference_of(name, root)
    if _is_loaded(cluster, reference):
        return reference
    build(name, reference, root)
    with timed(f"give the image {name} to the node"):
        _transfer(cluster, reference)
        _forget_old(cluster, name, reference)
    return reference


def reference_of(name: str, root: Path = ROOT) -> str:
    """The reference of the image `name` of `root`: its tag is a hash of all files that the image may hold."""
    digest = hashlib.sha256(name.encode())
    for top in (root / entry for entry in INPUTS):
        files = sorted(top.rglob("*")) if top.is_dir() else [top] if top.exists() else []
        for path in files:
            if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
                digest.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"igpo.dev/igpo-{name}:{digest.hexdigest()[:16]}"


def build(name: str, reference: str, root: Path = ROOT) -> None:
    """Build `images/<name>/Dockerfile` of `root` and tag it `reference`."""
    file = root / "images" / name / "Dockerfile"
    with locked(cache_folder("images") / "build.lock", "it builds images"):
        base = base_image()
        with timed(f"build the image {name}", _COLD[name]):
            buildah("rm", "--all")  # what a killed build left
            buildah(
                "build",
                "--layers",
                "--isolation=chroot",
                "--pull=false",
                f"--build-arg=BASE_IMAGE={base}",
                f"--build-arg=REVISION={revision(root)}",
                # Once more: older buildahs take a LABEL from their cache, whatever the value of the ARG in it.
                f"--label=org.opencontainers.image.revision={revision(root)}",
                *host_mounts(),
                f"--file={file}",
                f"--tag={reference}",
                root,
            )


def revision(root: Path = ROOT) -> str:
    """The commit of `root`, with `-dirty` where the images would hold something else; `unknown` without Git."""
    words = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--match=", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False) if shutil.which("git") else None
    return done.stdout.strip() if done is not None and done.returncode == 0 else "unknown"


def build_all(root: Path = ROOT) -> list[tuple[str, int]]:
    """Build both images of `root` and tag them; each with its size in bytes, uncompressed."""
    found = []
    for name in ("operator", "trainer"):
        reference = reference_of(name, root)
        build(name, reference, root)
        found.append((reference, StoredImage(builder.store(), reference).size))
    return found


@contextmanager
def also_called(cluster: Cluster, names: Mapping[str, str]) -> Iterator[None]:
    """Give images that the node has other names, `{name: reference}`, as if they had been pulled from a registry."""
    for name, reference in names.items():
        ctr(cluster.folder, "images", "tag", "--force", reference, name)
    try:
        yield
    finally:
        ctr(cluster.folder, "images", "remove", *names)


def _transfer(cluster: Cluster, reference: str) -> None:
    image = StoredImage(builder.store(), reference)
    present = set(ctr(cluster.folder, "content", "list", "-q").split())
    manifest = image.manifest
    with subprocess.Popen(ctr_words(cluster.folder, "images", "import", "-"), stdin=subprocess.PIPE) as process:
        if process.stdin is None:
            raise ClusterError("ctr has no standard input")
        with tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            for blob in image.blobs():
                if blob.digest not in present or blob == manifest:
                    add_blob(tar, blob.digest, blob.size, blob.pieces())
            add_index(tar, [named(reference, manifest.digest, manifest.size)])
        process.stdin.close()
        if process.wait():
            raise ClusterError(f"`ctr images import` ended with {process.returncode}; see {cluster.log('containerd')}")


def _forget_old(cluster: Cluster, name: str, reference: str) -> None:
    """Keep the images of the last few versions: each change of a requirement is another layer of gigabytes."""
    note = cache_folder("images") / f"{name}.txt"
    known = note.read_text().split() if note.exists() else []
    known = [*(other for other in known if other != reference), reference]
    for old in known[:-_VERSIONS]:
        if _is_loaded(cluster, old):
            ctr(cluster.folder, "images", "remove", old)
        if buildah("images", "--quiet", "--filter", f"reference={old}").strip():
            buildah("rmi", old)
    note.write_text("\n".join(known[-_VERSIONS:]))


def _is_loaded(cluster: Cluster, reference: str) -> bool:
    return reference in ctr(cluster.folder, "images", "list", "-q").split()
