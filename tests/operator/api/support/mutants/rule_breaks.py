"""Mutators for the CEL rules, found by how their messages begin (after the field that they blame)."""

import random
from collections.abc import Callable
from typing import Any

from igpo_operator.api import formats
from igpo_operator.api.rule import matches
from igpo_operator.api.volumes import VOLUME_SOURCES
from igpo_trainer.spec import contract
from mutants.breaks import Hit, Mutator
from mutants.growth import grown
from mutants.places import SCHEMAS, Place, rules_below

Breaker = Callable[[dict[str, Any], Place, random.Random], Any]
"""Changes an object in place, or returns the new value."""


def _merge(**fields: Any) -> Breaker:
    """Set fields; a function makes the value."""

    def hit(value: dict[str, Any], place: Place, rng: random.Random) -> None:
        for name, new in fields.items():
            value[name.rstrip("_")] = new(rng) if callable(new) else new

    return hit


def _drop_and_set(*dropped: str, **fields: Any) -> Breaker:
    def hit(value: dict[str, Any], place: Place, rng: random.Random) -> None:
        for name in dropped:
            value.pop(name, None)
        _merge(**fields)(value, place, rng)

    return hit


def _none_or_two(*names: str) -> Breaker:
    """Leave out every member of a union, or set two."""

    def hit(value: dict[str, Any], place: Place, rng: random.Random) -> None:
        chosen = rng.sample(names, 2) if rng.random() < 0.6 else ()
        for name in names:
            value.pop(name, None)
        for name in chosen:
            value[name] = grown(place.schema["properties"][name], rng)

    return hit


def _within(outer: str, breaker: Breaker) -> Breaker:
    def hit(value: dict[str, Any], place: Place, rng: random.Random) -> None:
        breaker(value.setdefault(outer, {}), place, rng)

    return hit


def _scratch(positions: Callable[[int, int], int]) -> Breaker:
    def hit(value: dict[str, Any], place: Place, rng: random.Random) -> None:
        value["model"] = {"scratch": {}}
        value["dataset"] |= {"maxPromptTokens": rng.randint(10, 300)}
        length = value.get("length", {})
        canvas = value["sampling"]["completionLength"]
        if length.get("originals") == "Context":
            canvas = length.get("contextTokens", 4096)
        if canvas > 32_000 or canvas < 8:
            value.get("length", {}).pop("originals", None)
            value["sampling"] |= {"completionLength": 64, "blockLength": 8, "steps": 8}
            if "length" in value:
                value["length"]["target"] = 64
            canvas = 64
        value["model"]["scratch"]["maxPositions"] = positions(canvas, value["dataset"]["maxPromptTokens"])

    return hit


def _rewritten_at_their_context(value: dict[str, Any], place: Place, rng: random.Random) -> None:
    value.setdefault("rewrite", {"teacher": {"baseUrl": "x", "model": "m"}})
    value["length"] |= {"originals": "Context", "contextTokens": value["length"]["target"] + rng.choice([0, 9])}
    value["model"].get("scratch", {})["maxPositions"] = 131072


def _key(*keys: str, inside: str = "") -> Breaker:
    """Add an entry with one of these keys to a map, or to the map of that name in an object."""

    def hit(value: dict[str, Any], place: Place, rng: random.Random) -> None:
        schema = place.schema["properties"][inside] if inside else place.schema
        entries = value.setdefault(inside, {}) if inside else value
        if len(entries) >= schema["maxProperties"]:
            entries.popitem()
        entries[rng.choice(keys)] = grown(schema["additionalProperties"], rng)

    return hit


def _one_of(*values: Any) -> Breaker:
    return lambda value, place, rng: rng.choice(values)


def _swapped(value: dict[str, Any], place: Place, rng: random.Random) -> None:
    value |= {"min": 6, "max": 5} if place.schema["properties"]["min"]["type"] == "integer" else {"min": 1, "max": 0.5}


def _mount_elsewhere(value: dict[str, Any], place: Place, rng: random.Random) -> None:
    value["volumeMounts"] = [{"name": "nowhere", "mountPath": "/nowhere"}, *value.get("volumeMounts", [])[:3]]


def _volume_names(value: dict[str, Any], place: Place, rng: random.Random) -> None:
    value["name"] = contract.RESERVED_VOLUME_PREFIX + rng.choice(["run", "manifest", "x"])


def _reserved_variable(rng: random.Random) -> str:
    prefix = rng.choice(contract.RESERVED_VARIABLE_PREFIXES) + rng.choice(["", "NNODES", "X"])
    return rng.choice([prefix, *sorted(contract.RESERVED_VARIABLES)])


def _reserved_path(rng: random.Random) -> str:
    return rng.choice(contract.RESERVED_MOUNT_PATHS) + rng.choice(["", "/x", "/a/b"])


_RESERVED_KEYS = ("igpo.dev/rank", "kueue.x-k8s.io/queue-name", "igpo.dev/x")
BREAKERS: dict[str, Breaker] = {
    # The trainer's rules.
    ".min is above max": _swapped,
    ".difficulties repeats": _merge(difficulties=[{"steps": 2, "share": 0.5}, {"steps": 2, "share": 0.1}]),
    ".difficulties has only": _merge(difficulties=[{"steps": 2, "share": 0}, {"steps": 1, "share": 0.0}]),
    ".wordProblems belongs": _merge(wordProblems={}, source=lambda rng: rng.choice(["data.jsonl", "builtin:word"])),
    ".format has columns": _merge(format=lambda rng: rng.choice(["GSM8K", "AMC"]), fields={"prompt": "problem"}),
    ".traceFormat cannot": _merge(
        traceFormat=lambda rng: rng.choice(["{body} {solution}", "{body", "{body!r}", "{}{body}", "{body}}", "{0}"])
    ),
    ".traceFormat has no": _merge(traceFormat=lambda rng: rng.choice(["{answer}", "{{body}}", "x", "{{{{body}}}}"])),
    ".hiddenSize over": _merge(heads=lambda rng: rng.choice([7, 9]), hiddenSize=lambda rng: rng.choice([128, 64])),
    "exactly one of source, scratch": _none_or_two("source", "scratch", "from"),
    "revision and adapt": _drop_and_set("source", "from", scratch={"maxPositions": 32768}, revision="main"),
    ".source holds": _drop_and_set("adapt", "scratch", "from", source=lambda rng: rng.choice(["m.gguf", "/m/x.gguf"])),
    ".blockLength does not": _merge(completionLength=256, blockLength=lambda rng: rng.choice([5, 100, 257])),
    ".steps must be": _merge(completionLength=256, blockLength=32, steps=lambda rng: rng.choice([12, 264, 1])),
    ".confidenceThreshold has": _merge(confidenceThreshold=lambda rng: rng.choice([0.5, 1]), remasking="Random"),
    ".betas must": _merge(betas=lambda rng: rng.choice([[0.9, 1], [1.0, 0.9], [-0.1, 0.9], [0, 2]])),
    ".evaluation.datasets lacks": _within("evaluation", _merge(datasets=[{"source": "x"}, {"source": "Holdout"}])),
    "exactly one of epochs": _none_or_two("epochs", "steps"),
    ".sampling.temperature gives": _within("sampling", _merge(temperature=lambda rng: rng.choice([0, 0.0]))),
    ".sampling.cfgScale samples": _within("sampling", _merge(cfgScale=lambda rng: rng.choice([1, 0.5]))),
    ".model.lora.dropout makes": lambda value, place, rng: value["model"].update(lora={"dropout": 0.1}),
    ".sampling.completionLength differs": _within("length", _merge(target=lambda rng: rng.choice([7, 9999]))),
    ".contextTokens is below": _merge(
        originals="Context", target=256, contextTokens=lambda rng: rng.choice([1, 32, 255])
    ),
    ".length.originals trains": _rewritten_at_their_context,
    ".model.scratch.maxPositions leaves": _scratch(lambda canvas, prompt: canvas),
    ".dataset.maxPromptTokens and": _scratch(lambda canvas, prompt: canvas + prompt - 1),
    # Pods.
    ".values belongs to the operators In and NotIn": _drop_and_set("values", operator="In"),
    ".values belongs to the operators In, NotIn, Gt": _merge(operator="Exists", values=["a"]),
    ".values of the operators": _merge(
        operator=lambda rng: rng.choice(["Gt", "Lt"]), values=lambda rng: rng.choice([["1", "2"], ["a"], ["1.5"], [""]])
    ),
    "operator must be Exists": _drop_and_set("key", operator="Equal"),
    ".value has no meaning": _merge(operator="Exists", value="x"),
    ".tolerationSeconds belongs": _merge(tolerationSeconds=5, effect="NoSchedule"),
    ".minDomains needs": _merge(minDomains=2, whenUnsatisfiable="ScheduleAnyway"),
    "exactly one of secretKeyRef": _none_or_two("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"),
    ".name is set by": _merge(name=_reserved_variable),
    "value and valueFrom": _merge(value="x", valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}),
    "exactly one of configMapRef": _none_or_two("configMapRef", "secretRef"),
    "exactly one of fieldRef": _none_or_two("fieldRef", "resourceFieldRef"),
    "exactly one of secret, configMap": _none_or_two("secret", "configMap", "downwardAPI", "serviceAccountToken"),
    ".name begins with": _volume_names,
    "exactly one of configMap, secret": _none_or_two(*VOLUME_SOURCES),
    ".mountPath lies in": _merge(mountPath=_reserved_path),
    "localhostProfile belongs": _drop_and_set("localhostProfile", type="Localhost"),
    ".requests are above": lambda value, place, rng: value.update(
        rng.choice(
            [
                {"requests": {"cpu": 2}, "limits": {"cpu": "1999m"}},
                {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}},
                {"requests": {"memory": "1.5"}, "limits": {"memory": 1, "cpu": 1}},
            ]
        )
    ),
    ".runAsUser 0 is": _merge(runAsUser=0, runAsNonRoot=True),
    ".allowPrivilegeEscalation false": _merge(privileged=True, allowPrivilegeEscalation=False),
    ".resourceFieldRef needs": _drop_and_set("fieldRef", resourceFieldRef={"resource": "limits.cpu"}),
    ".accessModes has": _drop_and_set("claimName", accessModes=["ReadWriteMany", "ReadWriteOncePod"]),
    ".extraResources has": _key("nvidia.com/gpu", inside="extraResources"),
    ".labels has a key of": _key(*_RESERVED_KEYS, inside="labels"),
    ".annotations has a key of": _key(*_RESERVED_KEYS, inside="annotations"),
    ".volumeMounts names": _mount_elsewhere,
    # The other cluster fields.
    ".claimName uses": _merge(claimName="mine", size="1Gi", retainPolicy="Retain"),
    ".retainPolicy Delete": _drop_and_set(
        "size", "storageClassName", "accessModes", claimName="mine", retainPolicy="Delete"
    ),
    ".size is no room": _drop_and_set("claimName", size=lambda rng: rng.choice([0, "0", "0.0Gi", "000", "0e5", ".0"])),
    ".workloadPriorityClassName belongs": _merge(workloadPriorityClassName="high", queueName=""),
    ".workers.replicas above": lambda value, place, rng: value.update(
        workers=value.get("workers", {}) | {"replicas": rng.choice([2, 64])},
        storage={"accessModes": [rng.choice(["ReadWriteOnce", "ReadWriteOncePod"])]},
    ),
    # Forms of texts and keys.
    "must be Auto or": _one_of("auto", 0, -1, "7", 2**31),
    "has a key of another length than 1 to 317": _key("a" * 318, "a" * 400),
    "has a key of another length than 1 to 256": _key("", "m" * 257),
    "has a key of another length than 0 to 253": _key("d" * 254),
    "has a key that is not cpu": _key("nvidia.com/gpu", "pods", "CPU"),
    "has a key that is not of the form example.com/name; put": _key("cpu", "hugepages-2Mi", "a//b"),
    "has a key of another length than 1 to 63": _key("m" * 64),
    "has a key that is not of the form name": _key("has space", "/x", "a/b/c", "UPPER.example/x", "-a", "x" * 64),
}
_BAD_TEXTS = {
    contract.DNS_LABEL: ("Upper", "a.b", "-a", "a_b", "a-"),
    formats.DNS_SUBDOMAIN: ("Upper", "a..b", ".a", "a_b", "a/b"),
    formats.QUALIFIED_NAME: ("a b", "/a", "a/b/c", "-a", "x" * 64, "ä"),
    formats.LABEL_VALUE: ("a b", "-a", "a/b", "ä"),
    formats.VARIABLE_NAME: ("1A", "A B", "A=B", "ä"),
    formats.VARIABLE_PREFIX: ("1", "A B", "="),
    formats.CONFIG_KEY: ("a b", "a/b", "ä"),
    formats.POD_FIELD: ("metadata.labels", "status.phase", "metadata.labels['']", "spec.containers"),
    formats.POD_METADATA: ("status.hostIP", "metadata", "spec.nodeName"),
    formats.MOUNT_PATH: ("data", "/", "/a/", "/a//b", "/a/../b", "/a:b", "/a/."),
    formats.ABSOLUTE_PATH: ("data", "a/b"),
    formats.RELATIVE_PATH: ("/a", "..b", "a/...", "a/", "a//b", "../a", "a/..", ".", "a:b"),
    formats.IMAGE: ("has space", "-x", ":tag", "ä"),
    formats.OPTIONAL_LABEL: ("Upper", "a.b", "-"),
    formats.OPTIONAL_SUBDOMAIN: ("Upper", "a..b", "."),
}


def rule_mutators() -> list[Mutator]:
    """One per distinct rule of both kinds below spec."""
    found: dict[str, Mutator] = {}
    for schema in SCHEMAS.values():
        for rule in rules_below(schema["properties"]["spec"]):
            text, blamed = rule["rule"], rule.get("fieldPath", "")
            if text not in found:
                breaker = _breaker(f"{blamed} {rule['message']}".strip(), text)
                found[text] = Mutator(f"{blamed} {rule['message'][:40]}".strip(), _has(text), _hit(rule, breaker))
    return list(found.values())


def _breaker(label: str, rule: str) -> Breaker:
    for pattern, texts in _BAD_TEXTS.items():
        if rule == matches("self", pattern):
            return _one_of(*texts)
    [breaker] = [breaker for start, breaker in BREAKERS.items() if label.startswith(start)]
    return breaker


def _has(rule: str) -> Callable[[Place], bool]:
    return lambda place: rule in place.rules


def _hit(rule: dict[str, Any], breaker: Breaker) -> Callable[[Place, random.Random], Hit]:
    def hit(place: Place, rng: random.Random) -> Hit:
        changed = breaker(place.value, place, rng)
        value = place.value if changed is None else changed
        return Hit(value, (rule["message"],), rule.get("fieldPath", ""))

    return hit
