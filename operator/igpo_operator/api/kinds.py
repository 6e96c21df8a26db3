"""The two kinds of run, and what they are called everywhere."""

from dataclasses import dataclass
from typing import Final

from igpo_trainer.spec.contract import API_VERSION
from igpo_trainer.spec.model import RunKind

GROUP: Final = API_VERSION.split("/")[0]
VERSION: Final = API_VERSION.split("/")[1]
CATEGORY: Final = "igpo-runs"
"""Category of both kinds for kubectl. Not igpo: it would win over the short name, and `get igpo NAME` would fail."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of run."""

    kind: RunKind
    plural: str
    singular: str
    short: str
    """Short name for kubectl; also in every generated name, so that both kinds can use one metadata.name."""


IGPO_TRAINING: Final = Kind("IGPOTraining", "igpotrainings", "igpotraining", "igpo")
LENGTH_ALIGNED_SFT: Final = Kind("LengthAlignedSFT", "lengthalignedsfts", "lengthalignedsft", "lasft")
KINDS: Final = (IGPO_TRAINING, LENGTH_ALIGNED_SFT)
_BY_NAME: Final = {kind.kind: kind for kind in KINDS}


def kind_named(name: str) -> Kind:
    """Find a kind by its `kind`, e.g. IGPOTraining."""
    return _BY_NAME[name]  # type: ignore[index]  # a KeyError is the right answer to another name
