"""`igpo validate`: check manifests without running them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from igpo_trainer.spec.cluster import CLUSTER_FIELDS
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.manifest import Document, ManifestError, load_manifest
from igpo_trainer.spec.yaml_document import write_document


def validate(
    files: Annotated[list[Path], typer.Option("--file", "-f", help="Manifest to check; may be given several times.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the documents with every default filled in, as YAML.")
    ] = False,
) -> None:
    """Check manifests and print one line per document.

    Raises ManifestError (exit code 64) with the problems of all files.
    """
    problems: list[str] = []
    for file in files:
        try:
            documents = load_manifest(file)
        except InvalidRunError as error:
            problems.append(str(error))
            continue
        for document in documents:
            typer.echo(f"ok {document.place()}: {document}", err=resolved)
            if resolved:
                typer.echo(f"---\n{write_document(resolved_document(document))}", nl=False)
    if problems:
        raise ManifestError(problems)


def resolved_document(document: Document) -> dict[str, Any]:
    """Fill in every default; cluster fields stay as written."""
    spec = document.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    written = document.raw["spec"]
    cluster = {name: value for name, value in written.items() if name in CLUSTER_FIELDS}
    workers = (written.get("workers") or {}) | spec["workers"]
    return {key: value for key, value in document.raw.items() if key != "status"} | {
        "spec": spec | {"workers": workers} | cluster
    }
