"""A stored spec as typed fields: what the trainer reads, and what only the cluster reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from igpo_operator.api.cluster import ClusterSpec
from igpo_operator.api.kinds import Kind
from igpo_trainer.spec.cluster import CLUSTER_FIELDS
from igpo_trainer.spec.document import KINDS, Spec
from igpo_trainer.spec.field_path import yaml_names
from igpo_trainer.spec.field_problem import problems_of
from igpo_trainer.spec.run import WorkersSpec


class SpecError(ValueError):
    """A stored spec that this operator cannot read, e.g. under a CRD of another version; one line per problem."""


@dataclass(frozen=True, slots=True)
class RunResource:
    """spec of one run."""

    trainer: Spec
    cluster: ClusterSpec


def spec_of(kind: Kind, raw: Mapping[str, Any]) -> RunResource:
    """Parse a stored `spec` (camelCase, as the API server returns it; defaults may be missing).

    Raises SpecError with every problem: spec.path, value, limit and remedy.
    """
    trainer, cluster = _parts(raw)
    model = KINDS[kind.kind]
    problems = []
    parsed_trainer = parsed_cluster = None
    try:
        # As JSON and strictly, as the API server reads it: "5" is not 5 and true is not 1.
        parsed_trainer = model.model_validate_json(json.dumps(trainer), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += problems_of(error, model, trainer)
    try:
        parsed_cluster = ClusterSpec.model_validate_json(json.dumps(cluster), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += problems_of(error, ClusterSpec, cluster)
    if parsed_trainer is None or parsed_cluster is None:
        # replicas and gpusPerWorker belong to both: the same problem is told once.
        raise SpecError("\n".join(dict.fromkeys(problem.text for problem in problems)))
    return RunResource(parsed_trainer, parsed_cluster)


def _parts(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split spec; workers goes to both, without the trainer's share of fields that it does not know."""
    trainer = {name: value for name, value in raw.items() if name not in CLUSTER_FIELDS}
    cluster = {name: value for name, value in raw.items() if name in CLUSTER_FIELDS}
    if "workers" in raw:
        workers = raw["workers"]
        cluster["workers"] = workers
        if isinstance(workers, Mapping):
            ours = yaml_names(WorkersSpec)
            trainer["workers"] = {name: value for name, value in workers.items() if name in ours}
    return trainer, cluster
