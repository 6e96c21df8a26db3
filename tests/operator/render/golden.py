"""The golden manifests: tests/data/manifests/output/X.yaml is what input/X.yaml is rendered to.

An input is a run with more keys: `attempt`, `resolved` as in its status, and `stage` if it does not train. To write
every output again:

    python tests/operator/render/golden.py
"""

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from igpo_operator.api.kinds import kind_named
from igpo_operator.api.reasons import Stage
from igpo_operator.api.spec import spec_of
from igpo_operator.api.status import Resolved
from igpo_operator.render.attempt import AttemptObjects, objects

FOLDER = Path(__file__).parents[2] / "data" / "manifests"
NAMES = sorted(path.stem for path in FOLDER.glob("input/*.yaml"))
UID = "0a1b2c3d-0000-4000-8000-000000000001"


def arguments(name: str) -> dict[str, Any]:
    """What `objects` is called with for an input."""
    run = YAML(typ="safe").load((FOLDER / "input" / f"{name}.yaml").read_text())
    kind = kind_named(run["kind"])
    return {
        "kind": kind,
        "namespace": "research",
        "name": run["metadata"]["name"],
        "uid": UID,
        "resource": spec_of(kind, run["spec"]),
        "resolved": Resolved.model_validate(run["resolved"]),
        "attempt": run["attempt"],
        "stage": Stage(run.get("stage", Stage.TRAINING)),
        "linger_seconds": 60.0,
    }


def rendered(name: str, **changes: Any) -> AttemptObjects:
    """The objects of an input."""
    return objects(**arguments(name) | changes)


def every(these: AttemptObjects) -> list[dict[str, Any]]:
    """All of them, in the order in which they are created."""
    claims = [] if these.claim is None else [these.claim]
    return [these.manifest, these.service, these.network_policy, *claims, *these.pods]


def output(name: str) -> str:
    """Text of an output."""
    yaml = YAML(typ="rt")
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    yaml.dump_all([_readable(it) for it in every(rendered(name))], stream)
    return stream.getvalue()


def golden(name: str) -> str:
    """The stored output."""
    return (FOLDER / "output" / f"{name}.yaml").read_text()


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value


if __name__ == "__main__":
    for each in NAMES:
        (FOLDER / "output" / f"{each}.yaml").write_text(output(each))
