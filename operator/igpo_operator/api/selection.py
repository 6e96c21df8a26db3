"""Which nodes and pods are meant: selector terms with the Kubernetes names."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.formats import LabelValue, ObjectName, QualifiedName
from igpo_trainer.spec.base import SpecModel

LabelMap = Annotated[dict[QualifiedName, LabelValue], Field(max_length=64)]


class LabelRequirement(SpecModel):
    """One requirement on a label."""

    key: QualifiedName = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="In and NotIn compare with values; Exists and DoesNotExist look at the key only."
    )
    values: tuple[LabelValue, ...] | None = Field(default=None, max_length=32, description="Values to compare with.")

    @model_validator(mode="after")
    def _values_fit_the_operator(self) -> Self:
        if (self.operator in ("In", "NotIn")) != bool(self.values):
            raise ValueError(
                "values belongs to the operators In and NotIn, which need at least one; add it or remove it"
            )
        return self


class LabelSelector(SpecModel):
    """Selects objects whose labels meet every requirement."""

    match_labels: LabelMap | None = Field(default=None, description="Labels that must have exactly these values.")
    match_expressions: tuple[LabelRequirement, ...] | None = Field(
        default=None, max_length=16, description="Further requirements on labels."
    )


class NodeRequirement(SpecModel):
    """One requirement on a node's label."""

    key: QualifiedName = Field(description="Key of the node's label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="In and NotIn compare with values, Gt and Lt with one whole number."
    )
    values: tuple[LabelValue, ...] | None = Field(default=None, max_length=32, description="Values to compare with.")

    @model_validator(mode="after")
    def _values_fit_the_operator(self) -> Self:
        if (self.operator in ("Exists", "DoesNotExist")) == bool(self.values):
            raise ValueError("values belongs to the operators In, NotIn, Gt and Lt; add it or remove it")
        bound = self.operator in ("Gt", "Lt")
        if bound and self.values and not (len(self.values) == 1 and re.fullmatch("-?[0-9]+", self.values[0])):
            raise ValueError("values of the operators Gt and Lt is exactly one whole number; keep one")
        return self


class NodeFieldRequirement(SpecModel):
    """One requirement on a node's name."""

    key: Literal["metadata.name"] = Field(description="Field of the node; there is only metadata.name.")
    operator: Literal["In", "NotIn"] = Field(description="In: this node. NotIn: any other.")
    values: tuple[ObjectName, ...] = Field(min_length=1, max_length=1, description="Name of the node.")


class NodeSelectorTerm(SpecModel):
    """Nodes that meet every requirement of this term."""

    match_expressions: tuple[NodeRequirement, ...] | None = Field(
        default=None, max_length=16, description="Requirements on the node's labels."
    )
    match_fields: tuple[NodeFieldRequirement, ...] | None = Field(
        default=None, max_length=4, description="Requirements on the node's name."
    )


class NodeSelector(SpecModel):
    """Nodes that meet at least one term."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = Field(
        min_length=1, max_length=16, description="Terms, of which at least one must hold."
    )
