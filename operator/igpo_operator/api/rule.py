"""One CEL rule of a custom resource, and the expressions that several rules share."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One x-kubernetes-validations entry."""

    rule: str
    message: str
    path: str | None = None
    """Field that the message is about, relative to the rule's place, e.g. `.min`; None: that place itself."""

    def document(self) -> dict[str, Any]:
        """As it stands in the CRD."""
        return {"rule": self.rule, "message": self.message} | ({"fieldPath": self.path} if self.path else {})


def matches(value: str, pattern: str) -> str:
    """Expression that a text fits a pattern."""
    quote = '"' if "'" in pattern else "'"
    return f"{value}.matches(r{quote}{pattern}{quote})"


def exactly_one(*names: str) -> Rule:
    """Exactly one of these fields is there."""
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return Rule(f"{count} == 1", f"exactly one of {listed} must be set; keep one")
