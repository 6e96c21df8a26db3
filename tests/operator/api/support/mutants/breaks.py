"""Named ways to break a manifest: what is wrong with it afterwards, and what the API server must say."""

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mutants.places import Path, Place, dotted


@dataclass(frozen=True)
class Wrong:
    """A broken manifest, the field that is to blame, and what a message about it must contain."""

    mutator: str
    manifest: dict[str, Any]
    field: str
    remedies: tuple[str, ...]


@dataclass(frozen=True)
class Hit:
    """What a mutator did to one place."""

    value: Any
    """New value of the place."""
    remedies: tuple[str, ...]
    field: str = ""
    """The field to blame, from the place on, e.g. `.min`; empty: the place itself."""


@dataclass(frozen=True)
class Mutator:
    """Breaks one kind of thing, wherever `fits` says that it is."""

    name: str
    fits: Callable[[Place], bool]
    hit: Callable[[Place, random.Random], Hit]

    def apply(self, manifest: dict[str, Any], place: Place, rng: random.Random) -> Wrong:
        """Break a copy of the manifest at one of its places."""
        broken = deepcopy(manifest)
        own = Place(place.path, place.schema, deepcopy(place.value))
        hit = self.hit(own, rng)
        _set(broken, place.path, hit.value)
        return Wrong(self.name, broken, dotted(place.path) + hit.field, hit.remedies)


def _set(manifest: dict[str, Any], path: Path, value: Any) -> None:
    at: Any = manifest
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
