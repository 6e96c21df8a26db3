"""Images in the OCI layout, as files: a folder or tar of blobs named by their hash, and an index."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_NAME = "io.containerd.image.name"


def single_file_image(archive: Path, name: str, executable: Path, folder: str = "") -> None:
    """Write to `archive` an image called `name` whose only file and entry point is the static `executable`.

    It lies in `folder`, given as `bin/`, or in the root.
    """
    place = folder + executable.name
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo(place)
        entry.mode = 0o755
        entry.size = executable.stat().st_size
        with executable.open("rb") as file:
            tar.addfile(entry, file)
    with tarfile.open(archive, "w") as tar:
        content = layer.getvalue()
        layers = [_blob(tar, content, "application/vnd.oci.image.layer.v1.tar")]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [f"/{place}"]},
            "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
        }
        described = _blob(tar, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers}
        top = _blob(tar, json.dumps(manifest).encode(), _MANIFEST)
        add_index(tar, [named(name, top["digest"], top["size"])])


def add_index(tar: tarfile.TarFile, manifests: list[dict[str, Any]]) -> None:
    """Complete an archive with the index of its images and the mark of the layout."""
    _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())


def add_blob(tar: tarfile.TarFile, digest: str, size: int, pieces: Iterable[bytes]) -> None:
    """Add one blob of `size` bytes to an archive.

    Raises:
        OSError: the pieces are fewer bytes than that.
    """
    entry = tarfile.TarInfo(f"blobs/sha256/{digest.removeprefix('sha256:')}")
    entry.size = size
    tar.addfile(entry, io.BufferedReader(_Joined(pieces), 1 << 20))


def named(reference: str, digest: str, size: int) -> dict[str, Any]:
    """How the index lists the image of a manifest."""
    return {"mediaType": _MANIFEST, "digest": digest, "size": size, "annotations": {_NAME: reference}}


class _Joined(io.RawIOBase):
    """Pieces of bytes as one file to read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = iter(pieces)
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self.rest:
            try:
                self.rest = next(self.pieces)
            except StopIteration:
                return 0
        view = memoryview(buffer)
        count = min(len(view), len(self.rest))
        view[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


def _blob(tar: tarfile.TarFile, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    _add(tar, f"blobs/sha256/{digest}", content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
