"""2,000 random manifests: what is broken is refused at apply with the field and the remedy; what is good is planned."""

import random
import re
from collections import Counter
from copy import deepcopy
from typing import Any

import pytest

from igpo_operator.api.kinds import KINDS, kind_named
from igpo_operator.api.spec import spec_of
from mutants.breaks import Wrong
from mutants.document_breaks import DOCUMENT_MUTATORS
from mutants.growth import good_manifest
from mutants.places import SCHEMAS, Place, places, rules_below
from mutants.reading import problems_of
from mutants.rule_breaks import rule_mutators
from mutants.schema_breaks import SCHEMA_MUTATORS

SEED = 20_261_125
TOTAL = 2000
EACH = 20
BLIND = 600


def pool(rng: random.Random) -> list[dict[str, Any]]:
    return [good_manifest(rng) for _ in range(1200)]


@pytest.fixture(scope="module")
def broken() -> list[Wrong]:
    """Each mutator's work, EACH times or more."""
    rng = random.Random(SEED)
    good = pool(rng)
    everywhere = [(manifest, place) for manifest in good for place in places(manifest)]
    wrongs = [mutator(rng.choice(good), rng) for mutator in DOCUMENT_MUTATORS for _ in range(EACH)]
    for mutator in SCHEMA_MUTATORS + rule_mutators():
        fitting = [(manifest, place) for manifest, place in everywhere if mutator.fits(place)]
        assert fitting, f"no good manifest has a place for {mutator.name}"
        wrongs += [mutator.apply(*rng.choice(fitting), rng) for _ in range(EACH)]
    return wrongs


@pytest.fixture(scope="module")
def good(broken) -> list[dict[str, Any]]:
    rng = random.Random(SEED + 1)
    return [good_manifest(rng) for _ in range(max(200, TOTAL - len(broken)))]


def blames(wrong: Wrong, field: str, message: str) -> bool:
    """Whether a complaint is about that field and has the remedy."""
    field = re.sub(r"\[([^\]]*[^\]\d][^\]]*)\]", r".\1", field)  # the API server puts keys of maps in brackets
    named = field == wrong.field or (not field and f'"{wrong.field}"' in message)
    return named and all(remedy.lower() in message.lower() for remedy in wrong.remedies)


@pytest.mark.timeout(300)
def test_every_broken_manifest_is_refused_with_its_field_and_the_remedy(api, broken):
    answers = api.create_all([wrong.manifest for wrong in broken])
    hits = Counter(wrong.mutator for wrong in broken)
    assert min(hits.values()) >= EACH
    for wrong, answer in zip(broken, answers, strict=True):
        assert not answer.accepted, (wrong.mutator, wrong.field, wrong.manifest)
        assert any(blames(wrong, *cause) for cause in answer.causes), (wrong.mutator, wrong.field, answer.causes)


def test_our_own_readers_refuse_every_manifest_that_the_api_server_refuses(broken):
    for wrong in broken:
        assert problems_of(wrong.manifest), (wrong.mutator, wrong.field)


@pytest.mark.timeout(300)
def test_every_good_manifest_is_accepted_and_read_back_as_our_own_readers_read_it(api, broken, good):
    assert len(broken) + len(good) >= TOTAL
    assert {manifest["kind"] for manifest in good} == {kind.kind for kind in KINDS}
    for manifest, answer in zip(good, api.create_all(good), strict=True):
        assert answer.accepted, (manifest, answer.causes)
        assert problems_of(manifest) == []
        kind = kind_named(manifest["kind"])
        # Equal too where the manifest leaves a field out: both sides fill in the same defaults.
        assert spec_of(kind, answer.body["spec"]) == spec_of(kind, manifest["spec"])


VALUES = [-1, 0, 1, 2, 7, 64, 0.5, 1.5, 1e-9, -0.5, 1e300, 2**31, 2**53 + 1, 2**62, "", "a", "A b", "Auto", "1", "/x",
          "-", "∑" * 70, "x" * 600, "In", "Exists", True, False, [], {}, ["a"], [0.5, 0.5], {"a": "b"},
          {"min": 3}]  # fmt: skip


def blindly(manifest: dict[str, Any], place: Place, rng: random.Random, others: list[Place]) -> dict[str, Any]:
    """Change something, for better or worse."""
    changed = deepcopy(manifest)
    at: Any = changed
    for step in place.path[:-1]:
        at = at[step]
    match rng.choice(["drop", "value", "value", "other", "other"]):
        case "drop":
            del at[place.path[-1]]
        case "value":
            at[place.path[-1]] = deepcopy(rng.choice(VALUES))
        case _:
            at[place.path[-1]] = deepcopy(rng.choice(others).value)
    return changed


@pytest.mark.timeout(300)
def test_the_api_server_and_our_own_readers_agree_about_blindly_changed_manifests(api):
    rng = random.Random(SEED + 2)
    good = pool(rng)[:400]
    everywhere = [(manifest, place) for manifest in good for place in places(manifest) if len(place.path) > 1]
    by_name: dict[Any, list[Place]] = {}
    for _, place in everywhere:
        by_name.setdefault(place.path[-1], []).append(place)
    changed = [
        blindly(manifest, place, rng, by_name[place.path[-1]]) for manifest, place in rng.choices(everywhere, k=BLIND)
    ]
    answers = api.create_all(changed)
    assert 0.2 < sum(answer.accepted for answer in answers) / BLIND < 0.8
    for manifest, answer in zip(changed, answers, strict=True):
        ours = problems_of(manifest)
        assert answer.accepted == (not ours), (ours, None if answer.accepted else answer.causes, manifest)


def test_every_keyword_of_the_schemas_has_a_mutator():
    named = {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "minLength", "maxLength", "minItems",
        "maxItems", "maxProperties", "type", "x-kubernetes-int-or-string", "pattern", "required", "properties",
        "x-kubernetes-list-map-keys", "x-kubernetes-validations",
    }  # fmt: skip
    no_constraints = {"description", "default", "items", "additionalProperties", "x-kubernetes-list-type"}

    def keywords(schema):
        yield from schema
        for value in schema.get("properties", {}).values():
            yield from keywords(value)
        for inner in ("items", "additionalProperties"):
            if inner in schema:
                yield from keywords(schema[inner])

    used = {word for schema in SCHEMAS.values() for word in keywords(schema["properties"]["spec"])}
    assert used <= named | no_constraints
    rules = {rule["rule"] for schema in SCHEMAS.values() for rule in rules_below(schema["properties"]["spec"])}
    assert len(rule_mutators()) == len(rules) >= 70
