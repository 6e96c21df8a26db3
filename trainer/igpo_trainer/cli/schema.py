"""`igpo schema`: the JSON schema of a manifest."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from igpo_trainer.spec.json_schema import document_schema, manifest_schema


class Kind(StrEnum):
    """Kinds as the command line takes them."""

    LENGTH_ALIGNED_SFT = "LengthAlignedSFT"
    IGPO_TRAINING = "IGPOTraining"


def schema(
    kind: Annotated[Kind | None, typer.Option(help="One kind only. Absent: a document of any kind.")] = None,
) -> None:
    """Print the JSON schema of a manifest's documents."""
    chosen = manifest_schema() if kind is None else document_schema(kind.value)
    typer.echo(json.dumps(chosen, indent=2, ensure_ascii=False))
