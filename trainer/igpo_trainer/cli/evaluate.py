"""`igpo eval`: measure a model on a manifest's evaluation sets."""

from pathlib import Path
from typing import Annotated

import typer

from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.manifest import load_manifest


def evaluate(
    file: Annotated[Path, typer.Option("--file", "-f", help="Manifest of the run whose sets are measured.")],
    run: Annotated[str | None, typer.Option(help="KIND/NAME of the document; default: the last one.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model folder; default: best/ or final/ of the run in the runs folder.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    samples: Annotated[
        int | None, typer.Option(min=1, help="Completions per problem; default: as in the manifest.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Default: as in the manifest.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print records as JSON lines instead of a table.")] = False,
) -> None:
    """Print accuracy, all-wrong fraction and intervals of a trained model, as the training loop measures them."""
    documents = load_manifest(file)
    chosen = [d for d in documents if run in (None, str(d))]
    if not chosen:
        known = ", ".join(str(d) for d in documents)
        raise InvalidRunError(f"{file}: no document {run}; it holds {known}")
    from igpo_trainer.loop.measure import measure, table

    change = {key: value for key, value in (("samples", samples), ("temperature", temperature)) if value is not None}
    records = measure(chosen[-1], runs, model, change)
    typer.echo("\n".join(r.model_dump_json() for r in records) if json else table(records))
