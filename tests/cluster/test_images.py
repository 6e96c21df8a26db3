import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_cluster.errors import ClusterError
from igpo_cluster.image_layout import add_blob, single_file_image
from igpo_cluster.images import ROOT, reference_of, revision
from igpo_cluster.stored_image import StoredImage


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_an_image_of_one_file_has_an_index_that_leads_to_that_file(tmp_path: Path) -> None:
    executable = tmp_path / "pause"
    executable.write_bytes(b"\x7fELF")
    single_file_image(tmp_path / "image.tar", "igpo.dev/pause:1", executable)
    files = _read(tmp_path / "image.tar")

    def blob(described: dict[str, Any]) -> bytes:
        content = files[f"blobs/sha256/{described['digest'].removeprefix('sha256:')}"]
        assert (_sha256(content), len(content)) == (described["digest"], described["size"])
        return content

    [top] = json.loads(files["index.json"])["manifests"]
    assert top["annotations"] == {"io.containerd.image.name": "igpo.dev/pause:1"}
    manifest = json.loads(blob(top))
    layer = blob(manifest["layers"][0])
    assert json.loads(blob(manifest["config"]))["rootfs"]["diff_ids"] == [_sha256(layer)]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert [(entry.name, entry.mode) for entry in tar] == [("pause", 0o755)]


@given(st.lists(st.binary(max_size=300)))
def test_a_blob_in_pieces_arrives_whole(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        add_blob(tar, _sha256(content), len(content), pieces)
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        [entry] = tar.getmembers()
        assert tar.extractfile(entry).read() == content  # type: ignore[union-attr]


def _store(root: Path) -> bytes:
    """A store as buildah's with one image of one layer; returns the layer's tar."""
    head, middle, tail = b"header of a", b"padding, header of b", b"end"
    layer = head + b"AAA" + middle + b"B" + tail
    parts: list[dict[str, Any]] = [
        {"type": 2, "payload": base64.b64encode(head).decode()},
        {"type": 1, "name": "a", "size": 3},
        {"type": 2, "payload": base64.b64encode(middle).decode()},
        {"type": 1, "name_raw": base64.b64encode(b"b").decode(), "size": 1},
        {"type": 1, "name": "a link"},
        {"type": 2, "payload": base64.b64encode(tail).decode()},
    ]
    files = root / "overlay" / "layer1" / "diff"
    files.mkdir(parents=True)
    (files / "a").write_bytes(b"AAA")
    (files / "b").write_bytes(b"B")
    layers = root / "overlay-layers"
    layers.mkdir()
    with gzip.open(layers / "layer1.tar-split.gz", "wt") as split:
        split.writelines(json.dumps(part) + "\n" for part in parts)
    (layers / "layers.json").write_text(json.dumps([{"id": "layer1", "diff-digest": _sha256(layer)}, {"id": "open"}]))
    image = root / "overlay-images" / "image1"
    image.mkdir(parents=True)
    config = b'{"config": {"User": "65532:65532"}}'
    (image / ("=" + base64.b64encode(_sha256(config).encode()).decode())).write_bytes(config)
    described = {"digest": _sha256(layer), "size": len(layer)}
    manifest = json.dumps({"config": {"digest": _sha256(config)}, "layers": [described]}).encode()
    (image / "manifest").write_bytes(manifest)
    record = {"id": "image1", "names": ["igpo.dev/x:1"], "digest": _sha256(manifest)}
    (root / "overlay-images" / "images.json").write_text(json.dumps([record]))
    return layer


def test_a_layer_is_put_together_again_byte_for_byte(tmp_path: Path) -> None:
    layer = _store(tmp_path)
    blobs = list(StoredImage(tmp_path, "igpo.dev/x:1").blobs())
    for blob in blobs:
        content = b"".join(blob.pieces())
        assert (_sha256(content), len(content)) == (blob.digest, blob.size)
    assert b"".join(blobs[-1].pieces()) == layer


def test_an_image_tells_its_size_its_files_and_what_it_runs_as(tmp_path: Path) -> None:
    layer = _store(tmp_path)
    image = StoredImage(tmp_path, "igpo.dev/x:1")
    assert image.size == len(layer)
    assert list(image.files()) == ["a", "b", "a link"]
    assert image.config == {"User": "65532:65532"}


def test_an_image_that_was_not_built_is_an_error(tmp_path: Path) -> None:
    _store(tmp_path)
    with pytest.raises(ClusterError, match=r"has no image igpo\.dev/y:1; build it first"):
        _ = StoredImage(tmp_path, "igpo.dev/y:1").manifest


def test_a_reference_changes_with_the_code_and_not_with_what_no_image_holds(tmp_path: Path) -> None:
    (tmp_path / "trainer" / "__pycache__").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    code = tmp_path / "trainer" / "a.py"
    code.write_text("1")
    before = reference_of("trainer", tmp_path)
    (tmp_path / "docs" / "a.md").write_text("words")
    (tmp_path / "trainer" / "__pycache__" / "a.pyc").write_text("cache")
    assert reference_of("trainer", tmp_path) == before
    assert reference_of("operator", tmp_path) != before
    code.write_text("2")
    assert reference_of("trainer", tmp_path) != before


def test_the_revision_is_that_of_the_commit_and_says_when_the_tree_is_another(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    file = tmp_path / "file"
    file.write_text("1")
    assert revision(tmp_path) == "unknown"
    git("init", "--quiet")
    git("add", "file")
    git("commit", "--quiet", "--message=one")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert revision(tmp_path) == commit
    file.write_text("2")
    assert revision(tmp_path) == f"{commit}-dirty"


@pytest.mark.parametrize("name", ["operator", "trainer"])
def test_the_label_of_the_version_is_that_of_the_package_and_comes_after_every_layer(name: str) -> None:
    lines = (ROOT / "images" / name / "Dockerfile").read_text().splitlines()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}" in lines
    layers = [index for index, line in enumerate(lines) if line.startswith(("RUN", "COPY", "ADD"))]
    assert max(layers) < lines.index("ARG REVISION=unknown")
