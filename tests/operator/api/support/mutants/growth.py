"""Good manifests: every field of both kinds now and then, within its bounds and the rules."""

import random
import re
from typing import Any

from igpo_operator.api import formats
from igpo_operator.api.kinds import KINDS
from igpo_operator.api.rules import LIST_KEYS
from igpo_trainer.spec.contract import API_VERSION, DNS_LABEL, MAX_NAME_LENGTH
from mutants.places import SCHEMAS

_EXAMPLES = {
    DNS_LABEL: ["a", "run-1", "x" * 40, "0", "gsm8k"],
    formats.DNS_SUBDOMAIN: ["a", "secret.example.com", "a-b.c-d", "x" * 63],
    formats.QUALIFIED_NAME: ["zone", "example.com/pool", "a.b-c/D_e.f", "X", "nvidia.com/gpu.product"],
    formats.LABEL_VALUE: ["", "a", "A-b_c.9", "1"],
    formats.VARIABLE_NAME: ["HF_TOKEN", "NCCL_DEBUG", "_x", "a.b-c", "HF_HOME", "RANKS"],
    formats.VARIABLE_PREFIX: ["", "APP_", "x."],
    formats.CONFIG_KEY: ["token", "a.b_c-d", "config.yaml"],
    formats.QUANTITY: ["4", "500m", "200Gi", "1e3", ".5", "2.", "1.5Ti"],
    formats.CONTAINER_RESOURCE: ["cpu", "memory", "ephemeral-storage"],
    formats.EXTENDED_RESOURCE: ["rdma/hca", "example.com/a.b", "x/Y_z"],
    formats.POD_FIELD: ["metadata.name", "status.hostIP", "metadata.labels['igpo.dev/rank']", "spec.nodeName"],
    formats.POD_METADATA: ["metadata.labels", "metadata.uid", "metadata.annotations['a']"],
    formats.MOUNT_PATH: ["/data", "/mnt/a b/c", "/var/lib/igpo-data", "/tmpfs", "/a/.hidden", "/a.."],
    formats.ABSOLUTE_PATH: ["/", "/exports/data", "/a//b:c"],
    formats.RELATIVE_PATH: ["a", "a/b.txt", ".x", "a...", "ä/ö"],
    formats.IMAGE: ["", "registry.example.com:5000/igpo/trainer:1.2@sha256:0a1b", "igpo"],
    formats.OPTIONAL_LABEL: ["", "queue", "q-1"],
    formats.OPTIONAL_SUBDOMAIN: ["", "high", "a.b"],
}
_TRACE_FORMATS = [r"{body} \boxed{{{answer}}}", "{body}", "{{}}{body}", "{body}\n{answer}", "ü {answer}{body}{{"]
_TEXTS = ["x", "a text", "größer ∑", "0", "yes", "builtin:other", "a/b", "line\nline"]
_NAMES = ["a", "gsm8k", "run-1", "0", "x" * MAX_NAME_LENGTH]
_EXACTLY_ONE = re.compile(r"exactly one of (.*) must be set")


def good_manifest(rng: random.Random) -> dict[str, Any]:
    """One run of either kind that nothing is wrong with."""
    kind = rng.choice(KINDS)
    spec = _grow(SCHEMAS[kind.kind]["properties"]["spec"], rng, 0)
    manifest = {
        "apiVersion": API_VERSION,
        "kind": kind.kind,
        "metadata": {"name": rng.choice(_NAMES)},
        "spec": spec,
    }
    _repair_pods(spec.get("workers", {}), rng)
    _repair(manifest, rng)
    return manifest


def grown(schema: dict[str, Any], rng: random.Random) -> Any:
    """A value that a schema below workers allows."""
    value = _grow(schema, rng, 2)
    _repair_everywhere(value, rng)
    return value


def _grow(schema: dict[str, Any], rng: random.Random, depth: int) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return _int_or_text(schema, rng)
    if schema["type"] == "object":
        return _object(schema, rng, depth)
    if schema["type"] == "array":
        count = rng.randint(max(1, schema.get("minItems", 0)), min(3, schema["maxItems"]))
        return [_grow(schema["items"], rng, depth + 1) for _ in range(count)]
    return _PLAIN[schema["type"]](schema, rng)


def _object(schema: dict[str, Any], rng: random.Random, depth: int) -> dict[str, Any]:
    if "additionalProperties" in schema:
        pattern = _matches(schema)
        keys = _EXAMPLES[pattern] if pattern else ["brevity", "module:function", "ä"]
        chosen = rng.sample(keys, rng.randint(0, 3))
        return {key: _grow(schema["additionalProperties"], rng, depth + 1) for key in chosen}
    likely = 0.5 if depth == 0 else 0.35
    value = {
        name: _grow(inner, rng, depth + 1)
        for name, inner in schema["properties"].items()
        if name in schema.get("required", ()) or rng.random() < likely
    }
    for rule in schema.get("x-kubernetes-validations", ()):
        union = _EXACTLY_ONE.match(rule["message"])
        if union:
            names = re.split(r", | and ", union.group(1))
            kept = rng.choice(names)
            value = {name: item for name, item in value.items() if name not in names or name == kept}
            if kept not in value:
                value[kept] = _grow(schema["properties"][kept], rng, depth + 1)
    return value


def _matches(schema: dict[str, Any]) -> str | None:
    """The pattern that a rule of this schema demands of the value or of its keys."""
    for rule in schema.get("x-kubernetes-validations", ()):
        found = re.search(r"(?:self|key)\.matches\(r(['\"])(.*)\1\)", rule["rule"])
        if found:
            return found.group(2)
    return None


def _text(schema: dict[str, Any], rng: random.Random) -> str:
    if schema.get("format") == "date-time":
        raise ValueError("spec holds no times")
    pattern = _matches(schema)
    if pattern:
        return rng.choice(_EXAMPLES[pattern])
    text = rng.choice(_TEXTS)
    if rng.random() < 0.1:
        text = "∑" * min(schema["maxLength"], 600)
    return text[: schema["maxLength"]]


def _int_or_text(schema: dict[str, Any], rng: random.Random) -> int | str:
    if "pattern" in schema:
        return rng.choice([1, 4, 2**53 - 1, *_EXAMPLES[formats.QUANTITY]])
    return rng.choice(["Auto", 1, 7, 2**31 - 1])


def _integer(schema: dict[str, Any], rng: random.Random) -> int:
    least, most = schema.get("minimum", 0), schema.get("maximum", 2**31 - 1)
    return rng.choice([least, most, rng.randint(least, most), rng.randint(least, min(most, least + 9))])


def _number(schema: dict[str, Any], rng: random.Random) -> float | int:
    least, most = schema.get("minimum", -10), schema.get("maximum", 1e6)
    options: list[float | int] = [least + (most - least) * rng.random() * 0.9999 + 1e-9]
    options += [] if schema.get("exclusiveMinimum") else [least]
    options += [] if schema.get("exclusiveMaximum") else [most]
    options += [5e-7] if least <= 0 else []
    return rng.choice(options)


_PLAIN = {
    "boolean": lambda schema, rng: rng.random() < 0.5,
    "integer": _integer,
    "number": _number,
    "string": _text,
}


def _repair(manifest: dict[str, Any], rng: random.Random) -> None:
    """Make fields agree that the rules compare."""
    spec = manifest["spec"]
    reinforcement = manifest["kind"] == "IGPOTraining"
    if "source" not in spec["model"]:
        spec["model"].pop("revision", None)
        spec["model"].pop("adapt", None)
    origin = spec["model"].get("from", {})
    if origin.get("name") == manifest["metadata"]["name"]:
        origin["name"] = "another"
    dataset = spec["dataset"]
    if "wordProblems" in dataset:
        dataset["source"] = "builtin:word-problems"
        for index, difficulty in enumerate(dataset["wordProblems"].get("difficulties", ())):
            difficulty["steps"] = index + 1
            difficulty["share"] = difficulty["share"] or 0.5
    for rows in (dataset, *spec.get("evaluation", {}).get("datasets", ())):
        if "format" in rows:
            rows.pop("fields", None)
            rows.pop("answer", None)
    if "traceFormat" in spec.get("prompt", {}):
        spec["prompt"]["traceFormat"] = rng.choice(_TRACE_FORMATS)
    if "betas" in spec.get("optimizer", {}):
        spec["optimizer"]["betas"] = [rng.choice([0, 0.9]), rng.random()]
    if "datasets" in spec.get("evaluation", {}):
        rng.choice(spec["evaluation"]["datasets"])["source"] = "holdout"
    for name in ("chunkTokens", "injectionRatio"):
        bounds = spec.get("hints", {}).get(name)
        if bounds is not None:
            values = sorted(_grow(schema, rng, 9) for schema in _hint_schemas(manifest, name))
            bounds |= {"min": values[0], "max": values[1]}
    canvas = _repair_sampling(spec, rng, reinforcement=reinforcement)
    _repair_scratch(spec, canvas, rng)
    _repair_cluster(spec, rng)


def _hint_schemas(manifest: dict[str, Any], name: str) -> list[dict[str, Any]]:
    hints = SCHEMAS[manifest["kind"]]["properties"]["spec"]["properties"]["hints"]["properties"]
    return list(hints[name]["properties"].values())


def _repair_sampling(spec: dict[str, Any], rng: random.Random, *, reinforcement: bool) -> int:
    """Blocks that fit the canvas; returns the longest canvas in tokens."""
    sampling = spec.setdefault("sampling", {})
    block, blocks = rng.choice([1, 8, 32]), rng.choice([1, 4, 16])
    length = block * blocks
    sampling |= {"completionLength": length, "blockLength": block, "steps": blocks * rng.randint(1, block)}
    if "confidenceThreshold" in sampling:
        sampling["remasking"] = "LowConfidence"
    if reinforcement:
        sampling["temperature"] = sampling.get("temperature") or 1.2
        sampling["cfgScale"] = 0
        spec["model"].get("lora", {})["dropout"] = 0
        return length
    spec.setdefault("length", {})["target"] = length
    if spec["length"].get("originals") != "Context":
        return length
    spec.pop("rewrite", None)
    spec["length"]["contextTokens"] = max(length, spec["length"].get("contextTokens", 4096))
    return int(spec["length"]["contextTokens"])


def _repair_scratch(spec: dict[str, Any], canvas: int, rng: random.Random) -> None:
    scratch = spec["model"].get("scratch")
    if scratch is None:
        return
    if canvas > 20_000:
        spec["length"]["originals"] = "Drop"
        canvas = spec["sampling"]["completionLength"]
    heads = rng.choice([1, 4, 16])
    scratch |= {"heads": heads, "hiddenSize": heads * 2 * rng.randint(4, 32)}
    prompt = rng.randint(1, 600)
    spec["dataset"]["maxPromptTokens"] = prompt
    scratch["maxPositions"] = max(8, canvas + prompt + rng.choice([0, 0, 17]))


def _repair_cluster(spec: dict[str, Any], rng: random.Random) -> None:
    storage = spec.get("storage", {})
    if "claimName" in storage:
        for name in ("size", "storageClassName", "accessModes"):
            storage.pop(name, None)
        storage["retainPolicy"] = "Retain"
    if "ReadWriteOncePod" in storage.get("accessModes", ()):
        storage["accessModes"] = ["ReadWriteOncePod"]
    if "size" in storage:
        storage["size"] = rng.choice([1, "20Gi", ".5", "0.1Ti"])
    if spec.get("workers", {}).get("replicas", 1) > 1 and "claimName" not in storage:
        modes = storage.get("accessModes", [])
        modes = [mode for mode in modes if mode != "ReadWriteOncePod"]
        spec["storage"] = storage | {"accessModes": [*modes, "ReadWriteMany"][-3:]}
    policy = spec.get("runPolicy", {})
    if policy.get("workloadPriorityClassName"):
        policy["queueName"] = "queue"


def _repair_pods(workers: dict[str, Any], rng: random.Random) -> None:
    for (model, name), keys in LIST_KEYS.items():
        if model == "Workers" and name in workers:
            workers[name] = list({tuple(item[key] for key in keys): item for item in workers[name]}.values())
    resources = workers.get("resources", {})
    if {"requests", "limits"} <= resources.keys():
        resources["limits"] |= {name: resources["requests"][name] for name in resources["requests"]}
    for variable in workers.get("env", ()):
        if "valueFrom" in variable:
            variable.pop("value", None)
    if "volumeMounts" in workers:
        workers.setdefault("volumes", [{"name": "scratch", "emptyDir": {}}])
        for mount in workers["volumeMounts"]:
            mount["name"] = rng.choice(workers["volumes"])["name"]
    _repair_placement(workers)
    _repair_everywhere(workers, rng)


def _repair_placement(workers: dict[str, Any]) -> None:
    for toleration in workers.get("tolerations", ()):
        if "key" not in toleration:
            toleration["operator"] = "Exists"
        if toleration.get("operator") == "Exists":
            toleration.pop("value", None)
        if "tolerationSeconds" in toleration:
            toleration["effect"] = "NoExecute"
    for spread in workers.get("topologySpreadConstraints", ()):
        if spread["whenUnsatisfiable"] == "ScheduleAnyway":
            spread.pop("minDomains", None)


def _repair_everywhere(value: Any, rng: random.Random) -> None:
    """What may stand anywhere below workers: requirements, affinity terms, profiles."""
    if isinstance(value, list):
        for item in value:
            _repair_everywhere(item, rng)
    if not isinstance(value, dict):
        return
    for item in value.values():
        _repair_everywhere(item, rng)
    if "operator" in value and value.get("key") != "metadata.name":
        _repair_requirement(value)
    if "sources" in value:
        _repair_paths(value["sources"])
    if value.get("runAsUser") == 0:
        value["runAsNonRoot"] = False
    if value.get("privileged"):
        value.pop("allowPrivilegeEscalation", None)
    if "path" in value and "resourceFieldRef" in value:
        value["resourceFieldRef"]["containerName"] = "trainer"
    if value.get("type") in ("Localhost", "RuntimeDefault", "Unconfined"):
        value.pop("localhostProfile", None)
        if value["type"] == "Localhost":
            value["localhostProfile"] = "profiles/a.json"


def _repair_paths(sources: list[dict[str, Any]]) -> None:
    """No two files of a projected volume may have one path."""
    files = [item for source in sources for part in source.values() for item in part.get("items", [part])]
    for index, item in enumerate(file for file in files if "path" in file):
        item["path"] = f"{index}/{item['path']}"


def _repair_requirement(value: dict[str, Any]) -> None:
    match value["operator"]:
        case "In" | "NotIn":
            value.setdefault("values", ["a"])
        case "Gt" | "Lt":
            value["values"] = ["3"]
        case _:
            value.pop("values", None)
