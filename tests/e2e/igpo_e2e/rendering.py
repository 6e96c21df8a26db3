"""What this operator would render for a run that exists, beside what is there."""

from typing import Any

from igpo_e2e.operator import QUICK
from igpo_e2e.run import Body
from igpo_operator.api.kinds import kind_named
from igpo_operator.api.spec import spec_of
from igpo_operator.api.status import Resolved
from igpo_operator.render.attempt import objects


def planned_pods(run: Body) -> list[Body]:
    """The pods of the run's attempt as this tree renders them, by rank."""
    kind, metadata, status = kind_named(run["kind"]), run["metadata"], run["status"]
    planned = objects(
        kind=kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource=spec_of(kind, run["spec"]),
        resolved=Resolved.model_validate(status["resolved"]),
        attempt=status["attempt"]["number"],
        linger_seconds=QUICK["lingerSeconds"],
    )
    return list(planned.pods)


def missing(planned: Any, live: Any, path: str = "") -> list[str]:
    """Paths of what is planned and not there as planned. The API server's defaults, and items behind ours, are more."""
    if isinstance(planned, dict) and isinstance(live, dict):
        return [one for key, value in planned.items() for one in missing(value, live.get(key), f"{path}.{key}")]
    if isinstance(planned, list) and isinstance(live, list):
        short = [f"{path}[{at}]" for at in range(len(live), len(planned))]
        pairs = enumerate(zip(planned, live, strict=False))
        return short + [one for at, (ours, theirs) in pairs for one in missing(ours, theirs, f"{path}[{at}]")]
    return [] if planned == live else [path]
