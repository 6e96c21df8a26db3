"""What our own two readers say about a manifest: the loader at a desk, and the operator's parser."""

from pathlib import Path
from typing import Any

from igpo_operator.api.kinds import kind_named
from igpo_operator.api.spec import SpecError, spec_of
from igpo_trainer.spec.document import Document, check_document
from igpo_trainer.spec.manifest import ManifestError, dependency_order
from igpo_trainer.spec.yaml_document import YamlDocument


def problems_of(manifest: dict[str, Any]) -> list[str]:
    """Everything that the loader and the operator's parser have against it; empty: they take it."""
    problems: list[str] = []
    checked = check_document(YamlDocument(manifest, {(): 1}), Path("run.yaml"))
    if isinstance(checked, Document):
        try:
            dependency_order([checked])
        except ManifestError as error:
            problems += error.problems
    else:
        problems += [problem.text for problem in checked]
    if isinstance(manifest.get("spec"), dict):
        try:
            spec_of(kind_named(manifest["kind"]), manifest["spec"])
        except SpecError as error:
            problems.append(str(error))
    return problems
