"""docs/metrics.md, made from the catalogue: `python -m igpo_trainer.observe.metrics_page > docs/metrics.md`."""

import sys
from collections.abc import Iterator

from igpo_trainer.observe.catalogue import RL, SECTIONS, SFT, Metric
from igpo_trainer.spec.contract import METRICS_LINGER_SECONDS, METRICS_PORT

_SHORT = {RL: "IGPO", SFT: "SFT"}


def page() -> str:
    """Write the page, ending in a newline."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Metrics of the trainer"
    yield ""
    yield "<!-- Made by python -m igpo_trainer.observe.metrics_page > docs/metrics.md; edit the catalogue instead. -->"
    yield ""
    yield (
        f"Global rank 0 serves `/metrics`, `/status` and `/healthz` on port {METRICS_PORT} and lingers "
        f"{METRICS_LINGER_SECONDS:g} s after the end of a run. Values are reduced over all processes; only series with "
        "`rank` are per process."
    )
    yield ""
    yield (
        "- A step is a cycle of RL (one rollout batch and its updates) or one update of SFT; "
        "`igpo_trainer_updates_total` counts optimizer updates."
    )
    yield "- Counters start at 0 with every process, those with known labels for every value; they are not restored."
    yield "- A gauge that does not exist is absent, never a made-up 0; so is one that is not finite."
    yield (
        "- A scrape adds `namespace`, `pod`, `training` and `kind` from the pod's labels. The trainer exports none of "
        "these names; at a desk `igpo_run_info` names the run by `run` and `run_kind`."
    )
    yield "- The usual `process_*` metrics of rank 0 are there as well."
    for title, metrics in SECTIONS.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| name | type | labels | unit | runs | meaning | exists |"
        yield "|---|---|---|---|---|---|---|"
        for metric in metrics:
            yield _row(metric)


def _row(metric: Metric) -> str:
    cells = (
        f"`{metric.name}`",
        metric.type.value,
        "<br>".join(_label(label.name, label.values, is_open=label.open) for label in metric.labels),
        metric.unit,
        ", ".join(_SHORT[kind] for kind in metric.kinds),
        metric.help,
        metric.when or "always",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _label(name: str, values: tuple[str, ...], *, is_open: bool) -> str:
    known = ", ".join([*values, *(["…"] if is_open else [])])
    return f"`{name}`: {known}"


if __name__ == "__main__":
    sys.stdout.write(page())
