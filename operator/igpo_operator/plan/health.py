"""Condition TrainingHealthy: whether the numbers of the training are numbers."""

from igpo_operator.api.reasons import ConditionType, Reason
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.conditions import Conditions
from igpo_operator.plan.observed import Scrape


def show_health(conditions: Conditions, status: RunStatus, scrape: Scrape | None) -> None:
    """Set it from what rank 0 of the current attempt last said; without a finished step nothing is known."""
    if scrape is None or status.attempt is None or scrape.attempt != status.attempt.number:
        return
    broken = sorted(scrape.status.non_finite)[:8]
    if broken:
        text = (
            f"{', '.join(broken)} not finite in the last step; lower optimizer.learningRate, "
            "or look at the gradient norm on /metrics"
        )
        conditions.set(ConditionType.TRAINING_HEALTHY, False, Reason.NON_FINITE, text)
    elif scrape.status.step >= 1:
        conditions.set(ConditionType.TRAINING_HEALTHY, True, Reason.HEALTHY, "the last step's numbers are finite")
