"""An image in buildah's store, blob by blob and uncompressed.

`buildah push` writes or compresses every layer each time. The store itself has what is needed to write one layer alone,
byte for byte: the files as they lie on disk, and the headers between them (`tar-split`).
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from igpo_cluster.errors import ClusterError

_CHUNK = 1 << 20
_BETWEEN = 2
"""Type of a part that holds the bytes between two files: padding and the next header."""


@dataclass(frozen=True)
class Blob:
    """Bytes that are named by their hash; `pieces` makes them anew at each call."""

    digest: str
    size: int
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class StoredImage:
    """The image `reference` in the buildah store `root`."""

    root: Path
    reference: str

    @property
    def manifest(self) -> Blob:
        """The image's manifest."""
        content = (self._folder / "manifest").read_bytes()
        return Blob(self._record["digest"], len(content), lambda: iter([content]))

    def blobs(self) -> Iterator[Blob]:
        """The manifest, the configuration and the layers."""
        manifest = json.loads((self._folder / "manifest").read_bytes())
        yield self.manifest
        digest = manifest["config"]["digest"]
        name = "=" + base64.b64encode(digest.encode()).decode()
        config = (self._folder / name).read_bytes()
        yield Blob(digest, len(config), lambda: iter([config]))
        for layer in manifest["layers"]:
            identity = self._layers[layer["digest"]]
            yield Blob(layer["digest"], layer["size"], partial(self._layer, identity))

    @property
    def config(self) -> dict[str, Any]:
        """The image's configuration: what it runs, as whom, its labels."""
        _, config, *_ = self.blobs()
        content: dict[str, Any] = json.loads(b"".join(config.pieces()))["config"]
        return content

    @property
    def size(self) -> int:
        """Bytes of all layers, uncompressed."""
        _, _, *layers = self.blobs()
        return sum(layer.size for layer in layers)

    def files(self) -> Iterator[str]:
        """The path of every file and link of every layer, without a leading slash."""
        for layer in json.loads((self._folder / "manifest").read_bytes())["layers"]:
            for part in self._parts(self._layers[layer["digest"]]):
                if part["type"] != _BETWEEN:
                    yield _name(part)

    @property
    def _folder(self) -> Path:
        return self.root / "overlay-images" / str(self._record["id"])

    @cached_property
    def _record(self) -> dict[str, Any]:
        for record in json.loads((self.root / "overlay-images" / "images.json").read_text()):
            if self.reference in record.get("names", ()):
                return dict(record)
        raise ClusterError(f"{self.root} has no image {self.reference}; build it first")

    @cached_property
    def _layers(self) -> dict[str, str]:
        records = json.loads((self.root / "overlay-layers" / "layers.json").read_text())
        return {record["diff-digest"]: record["id"] for record in records if "diff-digest" in record}

    def _layer(self, identity: str) -> Iterator[bytes]:
        files = self.root / "overlay" / identity / "diff"
        for part in self._parts(identity):
            if part["type"] == _BETWEEN:
                yield base64.b64decode(part["payload"])
            elif part.get("size"):
                yield from _file(files / _name(part))

    def _parts(self, identity: str) -> Iterator[dict[str, Any]]:
        with gzip.open(self.root / "overlay-layers" / f"{identity}.tar-split.gz", "rt") as parts:
            yield from map(json.loads, parts)


def _name(part: dict[str, Any]) -> str:
    if "name_raw" in part:
        return base64.b64decode(part["name_raw"]).decode(errors="surrogateescape")
    return str(part["name"]).lstrip("/")


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
