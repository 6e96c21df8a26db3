"""Images in the OCI layout, as files: a folder or tar of blobs named by their hash, and an index."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_NAME = "io.containerd.image.name"


def single_file_image(archive: Path, name: str, executable: Path) -> None:
    """Write to `archive` an image called `name` whose only file and entry point is the static `executable`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo(executable.name)
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
            "config": {"Entrypoint": [f"/{executable.name}"]},
            "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
        }
        described = _blob(tar, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers}
        add_index(tar, [{**_blob(tar, json.dumps(manifest).encode(), _MANIFEST), "annotations": {_NAME: name}}])


def add_index(tar: tarfile.TarFile, manifests: list[dict[str, Any]]) -> None:
    """Complete an archive with the index of its images and the mark of the layout."""
    _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())


def _blob(tar: tarfile.TarFile, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    _add(tar, f"blobs/sha256/{digest}", content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
