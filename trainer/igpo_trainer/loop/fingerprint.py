"""Whether the data are still those that a checkpoint was trained on: the manifest names them, it does not hold them."""

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.loop.data import RunData
from igpo_trainer.spec.errors import InvalidDataError

DATA_FILE = "data.json"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a run's data come down to; made once a start, for it reads all of them."""

    sha256: str
    """Hex, over every problem as the run sees it: token ids and answers, trained on, held out and measured."""
    problems: int
    heldout: int

    @classmethod
    def of(cls, data: RunData) -> Self:
        """The fingerprint of a run's data."""
        digest = hashlib.sha256()
        for part, problems in _parts(data):
            digest.update(json.dumps([part, len(problems)]).encode())
            for encoded in problems:
                sizes = [len(encoded.prompt_ids), len(encoded.trace_ids), encoded.problem.answer]
                digest.update(json.dumps(sizes).encode())
                digest.update(array("q", (*encoded.prompt_ids, *encoded.trace_ids)).tobytes())
        return cls(digest.hexdigest(), len(data.train), len(data.heldout))

    def save(self, folder: Path) -> None:
        """Write it into a checkpoint folder."""
        (folder / DATA_FILE).write_text(json.dumps(asdict(self)))

    def require_same(self, checkpoint: Path) -> None:
        """Raise InvalidDataError when a checkpoint was trained on other data; one without this file says nothing."""
        path = checkpoint / DATA_FILE
        if not path.exists():
            return
        stored = Fingerprint(**json.loads(path.read_text()))
        if stored.sha256 != self.sha256:
            raise InvalidDataError(
                f"the data have changed since {checkpoint.name} was saved: {self.problems} training and "
                f"{self.heldout} held-out problems with sha256 {self.sha256[:12]}, then {stored.problems} and "
                f"{stored.heldout} with {stored.sha256[:12]}; the run is kept as it was: put the data back to "
                "resume it, or give a run on the new data another name or folder"
            )


def _parts(data: RunData) -> Iterator[tuple[str, tuple[EncodedProblem, ...]]]:
    yield "train", data.train
    yield "heldout", data.heldout
    for measured, problems in data.others.items():
        yield measured.label, problems
