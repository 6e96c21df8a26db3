"""What may change after a run was created, asked of the real API server."""

import random
from copy import deepcopy
from typing import Any

import pytest

from igpo_operator.api.crd import spec_schema
from igpo_operator.api.kinds import KINDS
from igpo_operator.api.mutability import MUTABLE, Change, change_of
from mutants.growth import good_manifest
from mutants.places import SCHEMAS, Place, places
from mutants.reading import problems_of

NEVER = "cannot be changed; create a new run"
SUSPENDED = "can be changed only while the run is suspended; apply spec.suspend: true on its own first"


def test_every_mutable_field_exists():
    for kind in KINDS:
        for path in MUTABLE:
            schema = spec_schema(kind)
            for name in path.split("."):
                schema = schema["properties"][name]


def test_a_field_follows_its_own_entry_or_that_of_the_object_around_it():
    assert change_of("workers.env") is change_of("workers") is Change.WHILE_SUSPENDED
    assert change_of("runPolicy.backoffLimit") is Change.ANY_TIME
    assert change_of("storage.size") is change_of("model.lora.rank") is change_of("managedBy") is Change.NEVER


def created(api, namespace: str, rng: random.Random, *, suspend: bool) -> dict[str, Any]:
    """Store a random good run; nobody reconciles it."""
    manifest = good_manifest(rng)
    manifest["metadata"] = {"name": f"run-{rng.randrange(10**9)}"}
    manifest["spec"]["suspend"] = suspend
    answer = api.within(namespace).create(manifest, dry_run=False)
    assert answer.accepted, answer.causes
    return answer.body


def path_below_spec(place: Place) -> str:
    return ".".join(step for step in place.path[1:] if isinstance(step, str))


def changed(stored: dict[str, Any], place: Place, donors: list[Place]) -> dict[str, Any] | None:
    """The stored run with another value at one place, or None where no other value is at hand."""
    value = next((donor.value for donor in donors if donor.value != place.value), None)
    if value is None:
        return None
    update = deepcopy(stored)
    at = update
    for step in place.path[:-1]:
        at = at[step]
    at[place.path[-1]] = deepcopy(value)
    return update


@pytest.mark.parametrize("suspend", [False, True])
@pytest.mark.timeout(240)
def test_a_change_is_refused_unless_the_table_allows_it(api, namespace, suspend):
    rng = random.Random(7 + suspend)
    pool = [good_manifest(rng) for _ in range(200)]
    donors: dict[Any, list[Place]] = {}
    for manifest in pool:
        for place in places(manifest):
            donors.setdefault((path_below_spec(place), place.path[-1]), []).append(place)
    seen = {Change.ANY_TIME: 0, Change.WHILE_SUSPENDED: 0, Change.NEVER: 0}
    for _ in range(12):
        stored = created(api, namespace, rng, suspend=suspend)
        named = [place for place in places(stored) if isinstance(place.path[-1], str)]
        everywhere = [place for place in named if path_below_spec(place) not in ("", "storage", "runPolicy")]
        for place in rng.sample(everywhere, 40):
            update = changed(stored, place, donors.get((path_below_spec(place), place.path[-1]), []))
            if update is None or problems_of({**update, "metadata": {"name": "a"}}):
                continue
            change = change_of(path_below_spec(place))
            answer = api.within(namespace).replace(update)
            if answer.accepted and answer.body["spec"] == stored["spec"]:
                continue  # the same value, written with fewer defaults
            seen[change] += 1
            allowed = change is Change.ANY_TIME or (change is Change.WHILE_SUSPENDED and suspend)
            assert answer.accepted == allowed, (place.path, change, answer.causes if not answer.accepted else None)
            if not allowed:
                remedy = NEVER if change is Change.NEVER else SUSPENDED
                [(field, message)] = [cause for cause in answer.causes if cause[0].startswith("spec.")]
                assert remedy in message
                assert ".".join(str(step) for step in place.path).startswith(field)
    assert min(seen.values()) >= 5, seen


@pytest.mark.parametrize(
    ("field", "value"),
    [("rewrite", {"teacher": {"baseUrl": "https://teacher.example/v1", "model": "m"}}), ("trackers", ["wandb"])],
)
def test_a_field_that_was_absent_cannot_be_added(api, namespace, field, value):
    run = {
        "apiVersion": "igpo.dev/v1alpha1",
        "kind": "LengthAlignedSFT",
        "metadata": {"name": "run"},
        "spec": {"model": {"source": "x"}, "dataset": {"source": "x"}, "training": {"steps": 5}},
    }
    stored = api.within(namespace).create(run, dry_run=False).body
    assert field not in stored["spec"]
    stored["spec"][field] = value
    answer = api.within(namespace).replace(stored)
    assert [(cause[0], NEVER in cause[1]) for cause in answer.causes] == [(f"spec.{field}", True)]


def test_an_absent_list_equals_an_empty_one(api, namespace):
    run = {
        "apiVersion": "igpo.dev/v1alpha1",
        "kind": "IGPOTraining",
        "metadata": {"name": "run"},
        "spec": {"model": {"source": "x"}, "dataset": {"source": "x"}},
    }
    stored = api.within(namespace).create(run, dry_run=False).body
    stored["spec"]["trackers"] = []
    assert api.within(namespace).replace(stored).accepted


def test_a_suspended_run_may_be_changed_and_resumed_in_one_write(api, namespace):
    stored = created(api, namespace, random.Random(3), suspend=True)
    stored["spec"] |= {"suspend": False, "image": "registry.example.com/trainer:2"}
    assert api.within(namespace).replace(stored).accepted


def test_suspending_and_changing_takes_two_writes_since_the_running_attempt_must_save_first(api, namespace):
    stored = created(api, namespace, random.Random(4), suspend=False)
    stored["spec"] |= {"suspend": True, "image": "registry.example.com/trainer:2"}
    [(field, message)] = api.within(namespace).replace(stored).causes
    assert field == "spec.image"
    assert SUSPENDED in message


def test_every_field_of_spec_is_guarded_or_named_as_mutable():
    for kind in KINDS:
        schema = SCHEMAS[kind.kind]["properties"]["spec"]
        rules = [rule for rule in schema["x-kubernetes-validations"] if "oldSelf" in rule["rule"]]
        guarded = {rule["fieldPath"].removeprefix(".") for rule in rules}
        for name, field in schema["properties"].items():
            inner = [f"{name}.{key}" for key in field.get("properties", ())]
            paths = inner if any(path in MUTABLE for path in inner) else [name]
            for path in paths:
                assert (path in guarded) == (change_of(path) is not Change.ANY_TIME)
