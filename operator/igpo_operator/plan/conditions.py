"""`status.conditions`: set by type, the transition time kept while the status stays, kstatus' rules obeyed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from igpo_operator.api.reasons import ConditionType, Phase, Reason
from igpo_operator.api.status import Condition, RunStatus

MESSAGE_CHARACTERS: Final = 2048
_ORDER: Final = {kind.value: place for place, kind in enumerate(ConditionType)}


@dataclass(frozen=True, slots=True)
class View:
    """What a person is to see: one word, one reason, one sentence."""

    phase: Phase
    reason: Reason
    message: str
    stalled: bool = False
    """A person must act; kstatus reads it as Failed."""
    ready: bool = False
    """Meaningful while Running: the gang runs and step ≥ 1."""


class Conditions:
    """A list of conditions being rewritten at one moment."""

    def __init__(self, status: RunStatus, generation: int, now: datetime) -> None:
        self._known = {condition.type: condition for condition in status.conditions}
        self._generation = generation
        self._now = now

    def set(self, kind: ConditionType, value: bool, reason: Reason, message: str) -> None:
        """Set one; its transition time changes only with its status."""
        text = "True" if value else "False"
        known = self._known.get(kind)
        since = known.last_transition_time if known is not None and known.status == text else self._now
        self._known[kind] = Condition(
            type=kind,
            status=text,
            reason=reason,
            message=message[:MESSAGE_CHARACTERS],
            last_transition_time=since,
            observed_generation=self._generation,
        )

    def remove(self, *kinds: ConditionType) -> None:
        """Take conditions away."""
        for kind in kinds:
            self._known.pop(kind, None)

    def __contains__(self, kind: ConditionType) -> bool:
        return kind.value in self._known

    def listed(self) -> list[Condition]:
        """All of them in a fixed order, each for this generation."""
        ordered = sorted(self._known.values(), key=lambda condition: _ORDER.get(condition.type, len(_ORDER)))
        return [condition.model_copy(update={"observed_generation": self._generation}) for condition in ordered]


def find(status: RunStatus, kind: ConditionType) -> Condition | None:
    """Find a condition by type."""
    return next((condition for condition in status.conditions if condition.type == kind), None)


def is_true(status: RunStatus, kind: ConditionType) -> bool:
    """Whether a condition is there and True."""
    condition = find(status, kind)
    return condition is not None and condition.status == "True"


def show(conditions: Conditions, view: View) -> None:
    """Set the conditions that follow from a view.

    Exactly one of Reconciling and Stalled is there while something is being done or must be done by a person; none
    once the run is Ready, Complete or Suspended. A suspended run has no Ready either: kstatus takes Ready=False for
    work in progress, and a suspended run is as it was asked to be.
    """
    kind = ConditionType
    busy = _busy(view)
    conditions.remove(*({kind.RECONCILING, kind.STALLED} - ({busy} if busy else set())))
    if busy is not None:
        conditions.set(busy, True, view.reason, view.message)
    match view.phase:
        case Phase.SUSPENDED:
            conditions.remove(kind.READY)
            conditions.set(kind.SUSPENDED, True, view.reason, view.message)
        case Phase.COMPLETE:
            conditions.set(kind.READY, True, view.reason, view.message)
            conditions.set(kind.COMPLETE, True, view.reason, view.message)
        case Phase.FAILED:
            conditions.set(kind.READY, False, view.reason, view.message)
            conditions.set(kind.FAILED, True, view.reason, view.message)
        case _:
            conditions.set(kind.READY, view.ready, view.reason, view.message)
    if view.phase not in (Phase.SUSPENDED, Phase.SUSPENDING) and kind.SUSPENDED in conditions:
        conditions.set(kind.SUSPENDED, False, Reason.RESUMED, "")


def _busy(view: View) -> ConditionType | None:
    if view.stalled or view.phase is Phase.FAILED:
        return ConditionType.STALLED
    if view.ready or view.phase in (Phase.COMPLETE, Phase.SUSPENDED):
        return None
    return ConditionType.RECONCILING
