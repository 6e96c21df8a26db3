"""Mutators for what is wrong with a document as a whole."""

import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from igpo_trainer.spec.contract import MAX_NAME_LENGTH
from mutants.breaks import Wrong

DocumentMutator = Callable[[dict[str, Any], random.Random], Wrong]


def _renamed(mutator: str, names: Callable[[random.Random], str], remedy: str) -> DocumentMutator:
    def apply(manifest: dict[str, Any], rng: random.Random) -> Wrong:
        broken = deepcopy(manifest)
        broken["metadata"]["name"] = names(rng)
        return Wrong(mutator, broken, "metadata.name", (remedy,))

    return apply


def _from_itself(manifest: dict[str, Any], rng: random.Random) -> Wrong:
    broken = deepcopy(manifest)
    for name in ("source", "scratch", "revision", "adapt"):
        broken["spec"]["model"].pop(name, None)
    origin = {"kind": broken["kind"], "name": broken["metadata"]["name"]}
    if broken["kind"] == "LengthAlignedSFT" and rng.random() < 0.5:
        del origin["kind"]  # the default
    broken["spec"]["model"]["from"] = origin
    return Wrong("from itself", broken, "spec.model.from", ("names this very run",))


def _without_spec(manifest: dict[str, Any], rng: random.Random) -> Wrong:
    broken = {name: value for name, value in manifest.items() if name != "spec"}
    return Wrong("no spec", broken, "spec", ("Required",))


DOCUMENT_MUTATORS: list[DocumentMutator] = [
    _renamed("name too long", lambda rng: "n" * rng.randint(MAX_NAME_LENGTH + 1, 63), f"{MAX_NAME_LENGTH}"),
    _renamed("name no label", lambda rng: rng.choice(["a.b", "x.example.com"]), "is not a DNS label; use lower-case"),
    _from_itself,
    _without_spec,
]
