"""The ConfigMap with the manifest that the trainer reads."""

import hashlib
from typing import Any

from igpo_operator.render.child import child
from igpo_operator.render.gang import Gang
from igpo_operator.render.names import manifest_name
from igpo_trainer.spec.contract import API_VERSION, MANIFEST_PATH
from igpo_trainer.spec.yaml_document import write_document


def run_yaml(gang: Gang) -> str:
    """The run as the trainer reads it: training fields only, without defaults and without suspend.

    A field that the trainer's version does not know would end the run. Defaults are left out, so an operator that has
    learnt a field since still writes what an older image understands.
    """
    spec = gang.resource.trainer.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"suspend"})
    return write_document(
        {
            "apiVersion": API_VERSION,
            "kind": gang.kind.kind,
            "metadata": {"name": gang.name},
            "spec": spec,
        }
    )


def manifest(gang: Gang) -> dict[str, Any]:
    """ConfigMap that cannot be changed: another content has another name."""
    text = run_yaml(gang)
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = manifest_name(gang.kind, gang.name, digest)
    return child(gang, "v1", "ConfigMap", name) | {"immutable": True, "data": {MANIFEST_PATH.name: text}}
