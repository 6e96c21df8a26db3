"""`igpo report`: the folder of a run becomes one HTML file that needs no network."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from igpo_trainer.folder import write_atomically
from igpo_trainer.observe import drawing
from igpo_trainer.observe.figures import number, percent
from igpo_trainer.observe.findings import evaluation_rows, rewrite_rows, tiles, verdict
from igpo_trainer.observe.journal import read_metrics, read_samples
from igpo_trainer.observe.plots import sections
from igpo_trainer.observe.records import DataRecord, JournalRecord, StartRecord
from igpo_trainer.observe.samples import SampleRecord, pick_samples
from igpo_trainer.observe.summary import summarise
from igpo_trainer.spec.contract import METRICS_FILE, REPORT_FILE, RUN_FILE
from igpo_trainer.spec.dataset import BUILTIN_WORD_PROBLEMS
from igpo_trainer.spec.errors import InvalidDataError


def write_report(run_dir: Path) -> Path:
    """Write report.html into the folder of a run, finished or not, and return its path.

    Raises InvalidDataError when the folder holds no journal or a broken one.
    """
    records = read_metrics(run_dir)
    if not records:
        raise InvalidDataError(f"{run_dir / METRICS_FILE} has no line yet; give the folder of a run that has started")
    page = render(records, read_samples(run_dir), _identity(run_dir))
    path = run_dir / REPORT_FILE
    write_atomically(path, page.encode())
    return path


def render(
    records: Sequence[JournalRecord], samples: Sequence[SampleRecord], identity: Mapping[str, object] | None = None
) -> str:
    """Make the page. All text is escaped; every figure comes from the arguments."""
    environment = Environment(
        loader=PackageLoader("igpo_trainer.observe", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    summary = summarise(records)
    start = next((r for r in records if isinstance(r, StartRecord)), None)
    return environment.get_template("report.html.jinja").render(
        summary=summary,
        algorithm=start.spec.get("algorithm", "") if start else "",
        verdict=verdict(records),
        tiles=tiles(records, summary),
        evaluations=evaluation_rows(records),
        rewrites=rewrite_rows(records),
        sections=[(title, [drawing.draw(chart) for chart in charts]) for title, charts in sections(records)],
        canvas=drawing,
        constructed=start is not None and _source(start) == BUILTIN_WORD_PROBLEMS,
        approximations=_approximations(start),
        data=next((r for r in records if isinstance(r, DataRecord)), None),
        settings=list(flatten(start.spec)) if start else [],
        identity=list(flatten({k: v for k, v in (identity or {}).items() if k != "spec"})),
        samples=pick_samples(samples),
        total_samples=len(samples),
        written=datetime.fromtimestamp(records[-1].time.at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        lines=len(records),
        number=number,
        percent=percent,
        keys=_keys,
    )


def _keys(drawn: drawing.Drawing) -> list[dict[str, str]]:
    """Name the series of a chart for its tool tip, each with the classes of its swatch."""
    shape = " block" if drawn.chart.stacked else ""
    return [
        {"name": key.name, "swatch": f"swatch t{key.colour}" + (shape or (" dashed" if key.dashed else ""))}
        for key in drawn.legend
    ]


def _identity(run_dir: Path) -> dict[str, object]:
    path = run_dir / RUN_FILE
    if not path.exists():
        return {}
    try:
        identity = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidDataError(f"{path} is no JSON ({error}); restore it or remove it") from error
    return identity if isinstance(identity, dict) else {"run": identity}


def _source(start: StartRecord) -> object:
    dataset = start.spec.get("dataset")
    return dataset.get("source") if isinstance(dataset, dict) else None


def _approximations(start: StartRecord | None) -> list[str]:
    """Name what makes the run's samples differ from exact denoising."""
    sampling = start.spec.get("sampling") if start else None
    if not isinstance(sampling, dict):
        return []
    cache, threshold = sampling.get("cache", "None"), sampling.get("confidenceThreshold")
    named = [] if cache == "None" else [f"{cache} cache"]
    return named if threshold is None else [*named, f"confidence threshold {threshold}"]


def flatten(tree: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Walk a JSON tree as (dotted path, value) pairs; empty lists and objects are shown as such."""
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in tree):
        for index, value in enumerate(tree):
            yield from flatten(value, f"{path}[{index}]")
    elif path:
        yield path, tree if isinstance(tree, str) else json.dumps(tree, ensure_ascii=False)
