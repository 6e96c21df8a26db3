"""Whether the data are still those that a checkpoint was trained on: the manifest names them, it does not hold them."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.loop.data import RunData
from igpo_trainer.spec.errors import InvalidDataError

DATA_FILE = "data.json"


def data_fingerprint(data: RunData) -> str:
    """sha256, hex, over every problem as the run sees it: token ids and answers, trained on, held out and measured."""
    digest = hashlib.sha256()
    for part, problems in _parts(data):
        digest.update(f"{part}\n".encode())
        for encoded in problems:
            row = [encoded.prompt_ids, encoded.trace_ids, encoded.problem.answer]
            digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def save_fingerprint(data: RunData, folder: Path) -> None:
    """Write the fingerprint into a checkpoint folder."""
    record = {"sha256": data_fingerprint(data), "problems": len(data.train), "heldout": len(data.heldout)}
    (folder / DATA_FILE).write_text(json.dumps(record))


def require_same_data(data: RunData, checkpoint: Path) -> None:
    """Raise InvalidDataError when a checkpoint was trained on other data; one without a fingerprint says nothing."""
    path = checkpoint / DATA_FILE
    if not path.exists():
        return
    stored = json.loads(path.read_text())
    if (ours := data_fingerprint(data)) != stored["sha256"]:
        raise InvalidDataError(
            f"the data have changed since {checkpoint.name} was saved: {len(data.train)} training and "
            f"{len(data.heldout)} held-out problems with sha256 {ours[:12]}, then {stored['problems']} and "
            f"{stored['heldout']} with {stored['sha256'][:12]}; the run is kept as it was: put the data back to "
            "resume it, or give a run on the new data another name or folder"
        )


def _parts(data: RunData) -> Iterator[tuple[str, tuple[EncodedProblem, ...]]]:
    yield "train", data.train
    yield "heldout", data.heldout
    for measured, problems in data.others.items():
        yield measured.label, problems
