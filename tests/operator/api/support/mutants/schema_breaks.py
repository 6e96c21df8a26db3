"""Mutators for what the schema itself bounds."""

import random
from typing import Any

from mutants.breaks import Hit, Mutator
from mutants.growth import grown
from mutants.places import Place

_WRONG_TYPES: dict[str, list[Any]] = {
    "integer": ["5", 2.5, True, [], {}],
    "number": ["5e-7", True, []],
    "string": [5, True, [], {}],
    "boolean": ["true", 1, "yes"],
    "array": ["a", 5, {}],
    "object": ["a", 5, []],
}


def _type_of(place: Place) -> str:
    return str(place.schema.get("type", ""))


def _bounded(keyword: str, *, exclusive: bool = False) -> Any:
    flag = f"exclusive{keyword.capitalize()}"
    return lambda place: (
        keyword in place.schema
        and bool(place.schema.get(flag)) is exclusive
        and not (isinstance(place.value, str))
        # Beyond the largest whole number that JSON keeps there is none to try.
        and abs(place.schema[keyword]) < 2**53 - 1
    )


def _below(place: Place, rng: random.Random) -> Hit:
    limit = place.schema["minimum"]
    return Hit(limit - rng.choice([1, 7]), ("greater than or equal to", f"{limit:g}"))


def _above(place: Place, rng: random.Random) -> Hit:
    limit = place.schema["maximum"]
    return Hit(limit + rng.choice([1, 7]), ("less than or equal to", ""))


def _at_open_minimum(place: Place, rng: random.Random) -> Hit:
    return Hit(place.schema["minimum"] - rng.choice([0, 0.5]), ("greater than 0",))


def _at_open_maximum(place: Place, rng: random.Random) -> Hit:
    return Hit(place.schema["maximum"] + rng.choice([0, 0.5]), ("less than 1",))


def _not_listed(place: Place, rng: random.Random) -> Hit:
    wrong = rng.choice(["Nonsense", place.schema["enum"][0].lower() + "x", place.schema["enum"][0] + " "])
    return Hit(wrong, ("supported values", place.schema["enum"][-1]))


def _too_short(place: Place, rng: random.Random) -> Hit:
    return Hit("", ("at least 1 chars long",))


def _too_long(place: Place, rng: random.Random) -> Hit:
    limit = place.schema["maxLength"]
    return Hit(rng.choice(["x", "∑"]) * (limit + 1), (f"{limit}",))


def _too_few(place: Place, rng: random.Random) -> Hit:
    return Hit(place.value[: place.schema["minItems"] - 1], (f"at least {place.schema['minItems']} item",))


def _too_many(place: Place, rng: random.Random) -> Hit:
    limit = place.schema["maxItems"]
    item = place.value[0] if place.value else grown(place.schema["items"], rng)
    return Hit([item] * (limit + 1), (f"at most {limit} item",))


def _too_many_keys(place: Place, rng: random.Random) -> Hit:
    limit = place.schema["maxProperties"]
    entry = grown(place.schema["additionalProperties"], rng)
    return Hit({f"k{index}": entry for index in range(limit + 1)}, (f"at most {limit}",))


def _of_another_type(place: Place, rng: random.Random) -> Hit:
    return Hit(rng.choice(_WRONG_TYPES[_type_of(place)]), (f"must be of type {_type_of(place)}",))


def _neither_whole_nor_text(place: Place, rng: random.Random) -> Hit:
    return Hit(rng.choice([2.5, True, [], {}]), ("must be of type",))


def _no_amount(place: Place, rng: random.Random) -> Hit:
    return Hit(rng.choice(["lots", "5 Gi", "-1", "1gb", "", "1.2.3", "0x10"]), ("should match",))


def _without_required(place: Place, rng: random.Random) -> Hit:
    name = rng.choice(place.schema["required"])
    return Hit({key: item for key, item in place.value.items() if key != name}, ("Required",), f".{name}")


def _misspelt(place: Place, rng: random.Random) -> Hit:
    name = rng.choice([*place.schema["properties"], "zzz"])
    wrong = rng.choice([name + "s_", name.upper() + "X", "igpo.dev/x"])
    return Hit(place.value | {wrong: rng.choice([5, "a", {}])}, ("unknown field",), f".{wrong}")


def _repeated(place: Place, rng: random.Random) -> Hit:
    item = rng.choice(place.value)
    return Hit([*place.value, item], ("Duplicate value",), f"[{len(place.value)}]")


def _spare(place: Place, keyword: str) -> bool:
    return len(place.value) < place.schema.get(keyword, 1)


def _is_text(place: Place) -> bool:
    return _type_of(place) == "string"


SCHEMA_MUTATORS = [
    Mutator("minimum", _bounded("minimum"), _below),
    Mutator("maximum", _bounded("maximum"), _above),
    Mutator("exclusive minimum", _bounded("minimum", exclusive=True), _at_open_minimum),
    Mutator("exclusive maximum", _bounded("maximum", exclusive=True), _at_open_maximum),
    Mutator("enum", lambda place: "enum" in place.schema and place.schema["enum"] != [""], _not_listed),
    Mutator("minimum length", lambda place: _is_text(place) and place.schema.get("minLength") == 1, _too_short),
    Mutator("maximum length", lambda place: _is_text(place) and "maxLength" in place.schema, _too_long),
    Mutator("minimum items", lambda place: place.schema.get("minItems", 0) > 0, _too_few),
    Mutator("maximum items", lambda place: "maxItems" in place.schema, _too_many),
    Mutator("maximum properties", lambda place: "maxProperties" in place.schema, _too_many_keys),
    Mutator("type", lambda place: "type" in place.schema and len(place.path) > 1, _of_another_type),
    Mutator("number or text", lambda place: "x-kubernetes-int-or-string" in place.schema, _neither_whole_nor_text),
    Mutator("amount", lambda place: "pattern" in place.schema, _no_amount),
    Mutator("required", lambda place: bool(place.schema.get("required")), _without_required),
    Mutator("unknown field", lambda place: "properties" in place.schema, _misspelt),
    Mutator(
        "repeated key",
        lambda place: "x-kubernetes-list-map-keys" in place.schema and _spare(place, "maxItems") and bool(place.value),
        _repeated,
    ),
]
"""One per keyword that a structural schema uses."""
