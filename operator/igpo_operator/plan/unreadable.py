"""A stored status that cannot be read: nothing is done about the run, but it says so itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from igpo_operator.api.reasons import ConditionType, Reason
from igpo_operator.api.status import Condition
from igpo_operator.plan.conditions import MESSAGE_CHARACTERS

_REPLACED = (ConditionType.STALLED, ConditionType.RECONCILING)


def marked(status: Mapping[str, Any], problem: str, generation: int, now: datetime) -> dict[str, Any] | None:
    """The same status with Stalled=True and a message; None if it already says so.

    All the rest stays as it is stored: an operator that can read it shall find it unchanged.
    """
    text = (
        f"this operator cannot read the run's status: {problem}; run the operator's release that wrote it, or correct "
        "what was edited by hand: kubectl edit --subresource=status"
    )[:MESSAGE_CHARACTERS]
    listed = status.get("conditions")
    known = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    stalled = next((one for one in known if one.get("type") == ConditionType.STALLED), {})
    if (stalled.get("reason"), stalled.get("message")) == (Reason.INVALID_STATUS, text):
        return None
    condition = Condition(
        type=ConditionType.STALLED,
        status="True",
        reason=Reason.INVALID_STATUS,
        message=text,
        last_transition_time=now.replace(microsecond=0),
        observed_generation=generation,
    )
    others = [dict(one) for one in known if one.get("type") not in _REPLACED]
    shown = condition.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**status, "message": text, "conditions": [*others, shown]}
