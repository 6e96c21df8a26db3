"""One document of a manifest: a run, checked on its own."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from igpo_trainer.spec.cluster import CLUSTER_FIELDS, CLUSTER_WORKER_FIELDS
from igpo_trainer.spec.contract import API_VERSION, DNS_LABEL, MAX_NAME_LENGTH
from igpo_trainer.spec.field_path import model_at, yaml_names
from igpo_trainer.spec.field_problem import SPEC, FieldProblem, problems_of, shown, suggestion, unknown_field
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from igpo_trainer.spec.model import RunKind
from igpo_trainer.spec.run import WorkersSpec
from igpo_trainer.spec.sft import LengthAlignedSFTSpec
from igpo_trainer.spec.yaml_document import JSON, FieldPath, YamlDocument

Spec = IGPOTrainingSpec | LengthAlignedSFTSpec

KINDS: Final[Mapping[RunKind, type[IGPOTrainingSpec] | type[LengthAlignedSFTSpec]]] = {
    "LengthAlignedSFT": LengthAlignedSFTSpec,
    "IGPOTraining": IGPOTrainingSpec,
}
DOCUMENT_FIELDS: Final = ("apiVersion", "kind", "metadata", "spec", "status")


@dataclass(frozen=True)
class Document:
    """One run of a manifest, checked."""

    kind: RunKind
    name: str
    namespace: str | None
    spec: Spec
    raw: dict[str, Any]  # the whole document as read, cluster fields included
    file: Path
    line: int
    source: YamlDocument = field(repr=False, compare=False)

    def place(self, *path: str | int) -> str:
        """file:line of a field, or of what is nearest to it."""
        return f"{self.file}:{self.source.line(path)}"

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def check_document(source: YamlDocument, path: Path) -> Document | list[FieldProblem]:
    """Check one document on its own: the run it describes, or everything wrong with it."""
    document = source.value
    if not isinstance(document, dict):
        return [
            FieldProblem(
                (), f"the document is {shown(document)}, not an object; start it with apiVersion: {API_VERSION}"
            )
        ]
    problems = [unknown_field((name,), DOCUMENT_FIELDS) for name in document if name not in DOCUMENT_FIELDS]
    problems += _version_problems(document.get("apiVersion"))
    metadata = document.get("metadata")
    problems += _metadata_problems(metadata)
    kind = next((kind for kind in KINDS if kind == document.get("kind")), None)
    if kind is None:
        problems.append(_kind_problem(document.get("kind")))
        return problems
    spec, spec_problems = _checked_spec(document.get(SPEC), KINDS[kind])
    problems += spec_problems
    if problems or spec is None or not isinstance(metadata, dict):
        return problems
    namespace = metadata.get("namespace")
    return Document(
        kind=kind,
        name=str(metadata["name"]),
        namespace=None if namespace is None else str(namespace),
        spec=spec,
        raw=document,
        file=path,
        line=source.line(()),
        source=source,
    )


def _version_problems(version: JSON) -> list[FieldProblem]:
    if version == API_VERSION:
        return []
    if version is None:
        return [FieldProblem(("apiVersion",), f"apiVersion is missing; add apiVersion: {API_VERSION}")]
    return [FieldProblem(("apiVersion",), f"apiVersion {shown(version)} is not {API_VERSION}; set {API_VERSION}")]


def _kind_problem(kind: JSON) -> FieldProblem:
    if kind is None:
        return FieldProblem(("kind",), f"kind is missing; add one of {', '.join(KINDS)}")
    return FieldProblem(("kind",), f"kind {shown(kind)} is none of {', '.join(KINDS)}; {suggestion(str(kind), KINDS)}")


def _metadata_problems(metadata: JSON) -> list[FieldProblem]:
    if not isinstance(metadata, dict):
        return [FieldProblem(("metadata",), "metadata is not an object; add metadata: {name: …}")]
    problems = []
    if metadata.get("name") is None:
        problems.append(FieldProblem(("metadata", "name"), "metadata.name is missing; add a name"))
    for key, limit in (("name", MAX_NAME_LENGTH), ("namespace", 63)):
        value = metadata.get(key)
        if value is None:
            continue
        path = ("metadata", key)
        if not isinstance(value, str) or not re.fullmatch(DNS_LABEL, value):
            problems.append(
                FieldProblem(
                    path,
                    f"metadata.{key} {shown(value)} is not a DNS label; use lower-case letters, digits and -, "
                    "with a letter or digit at both ends" + ("" if isinstance(value, str) else ", in quotes"),
                )
            )
        elif len(value) > limit:
            problems.append(
                FieldProblem(
                    path, f"metadata.{key} {shown(value)} has {len(value)} characters, the limit is {limit}; shorten it"
                )
            )
    return problems


def _checked_spec(value: JSON, model: type[Spec]) -> tuple[Spec | None, list[FieldProblem]]:
    if value is None:
        return None, [FieldProblem((SPEC,), "spec is missing; add spec with at least model and dataset")]
    if not isinstance(value, dict):
        return None, [FieldProblem((SPEC,), f"spec {shown(value)} is not an object; write its fields")]
    value, problems = _without_cluster_fields(value)
    value = _without_nulls(value, model, ())
    try:
        # As JSON and strictly, because the cluster's API server never turns "5" into 5 or true into 1.
        spec = model.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        return None, problems + problems_of(error, model, value)
    return spec, problems


def _without_cluster_fields(spec: dict[str, JSON]) -> tuple[dict[str, JSON], list[FieldProblem]]:
    spec = {name: value for name, value in spec.items() if name not in CLUSTER_FIELDS}
    workers = spec.get("workers")
    if not isinstance(workers, dict):
        return spec, []
    ours = yaml_names(WorkersSpec)
    problems = [
        unknown_field((SPEC, "workers", name), [*ours, *sorted(CLUSTER_WORKER_FIELDS)])
        for name in workers
        if name not in ours and name not in CLUSTER_WORKER_FIELDS
    ]
    return spec | {"workers": {name: value for name, value in workers.items() if name in ours}}, problems


def _without_nulls(value: JSON, root: type[Spec], path: FieldPath) -> JSON:
    """Leave out known fields without a value: they count as absent, as on the API server."""
    if isinstance(value, list):
        return [_without_nulls(item, root, (*path, index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    model = model_at(root, path)
    known = yaml_names(model) if model else []
    return {
        name: _without_nulls(item, root, (*path, name))
        for name, item in value.items()
        if item is not None or name not in known
    }
