"""The objects of an attempt, rendered from the scene."""

from igpo_operator.api.spec import RunResource
from igpo_operator.api.status import AttemptStatus, Resolved
from igpo_operator.plan.observed import Facts, Run
from igpo_operator.render.attempt import AttemptObjects, objects


def rendered(
    run: Run, resource: RunResource, resolved: Resolved, attempt: AttemptStatus, facts: Facts
) -> AttemptObjects:
    """Every object of one attempt: pure, so that the same status always gives the same objects."""
    return objects(
        kind=run.kind,
        namespace=run.namespace,
        name=run.name,
        uid=run.uid,
        resource=resource,
        resolved=resolved,
        attempt=attempt.number,
        stage=attempt.stage,
        linger_seconds=facts.linger_seconds,
        scrapers=facts.scrapers,
    )
