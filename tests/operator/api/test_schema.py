from enum import StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from igpo_operator.api.cluster import ClusterSpec
from igpo_operator.api.formats import Quantity
from igpo_operator.api.schema import LONGEST_STATUS_TEXT, structural
from igpo_trainer.spec.base import SpecModel
from igpo_trainer.spec.contract import DNS_LABEL


class Colour(StrEnum):
    RED = "Red"


class Inner(SpecModel):
    size: int = Field(default=2, ge=1, le=5, description="A size.")
    names: tuple[str, ...] = Field(default=(), max_length=2)


class Outer(SpecModel):
    required: Annotated[str, Field(max_length=9)]
    inner: Inner = Field(default_factory=Inner)
    absent: Inner | None = None
    ratio: float = Field(default=0.5, gt=0.0, lt=1.0)
    pair: tuple[float, float] = (0.1, 0.2)
    count: Literal["Auto"] | Annotated[int, Field(ge=1, le=9)] = "Auto"
    amount: Quantity | None = None
    only: Literal["this"] = "this"
    name: Annotated[str, Field(max_length=63, pattern=DNS_LABEL)] | None = None
    labels: Annotated[dict[Annotated[str, Field(max_length=5)], int], Field(max_length=3)] | None = None


FIELDS = structural(Outer)["properties"]


def test_required_and_optional_fields():
    assert structural(Outer)["required"] == ["required"]
    assert FIELDS["required"] == {"type": "string", "maxLength": 9}
    assert "default" not in FIELDS["absent"]
    assert "nullable" not in str(FIELDS)


def test_an_object_is_inlined_and_its_default_written_out_without_empty_lists():
    assert FIELDS["inner"]["properties"]["size"] == {
        "description": "A size.", "type": "integer", "minimum": 1, "maximum": 5, "default": 2,
    }  # fmt: skip
    assert FIELDS["inner"]["default"] == {"size": 2}
    assert "default" not in FIELDS["inner"]["properties"]["names"]


def test_open_bounds_are_flags():
    assert FIELDS["ratio"] == {
        "type": "number", "minimum": 0.0, "exclusiveMinimum": True, "maximum": 1.0, "exclusiveMaximum": True,
        "default": 0.5,
    }  # fmt: skip


def test_a_pair_is_a_list_of_two():
    assert FIELDS["pair"] == {
        "type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}, "default": [0.1, 0.2],
    }  # fmt: skip


def test_a_word_or_a_number_is_checked_by_a_rule():
    assert FIELDS["count"]["x-kubernetes-int-or-string"] is True
    assert "type" not in FIELDS["count"]
    assert FIELDS["count"]["x-kubernetes-validations"] == [
        {
            "rule": "type(self) == int ? self >= 1 && self <= 9 : self == 'Auto'",
            "message": "must be Auto or a whole number from 1 to 9",
        }
    ]


def test_an_amount_is_a_number_or_a_text_with_a_unit():
    assert FIELDS["amount"].keys() == {"x-kubernetes-int-or-string", "minimum", "maximum", "pattern", "maxLength"}


def test_an_only_value_is_an_enumeration():
    assert FIELDS["only"] == {"type": "string", "enum": ["this"], "default": "this"}


def test_a_pattern_is_a_rule_with_a_remedy():
    assert "pattern" not in FIELDS["name"]
    [rule] = FIELDS["name"]["x-kubernetes-validations"]
    assert rule["rule"] == f"self.matches(r'{DNS_LABEL}')"
    assert "use lower-case letters" in rule["message"]


def test_keys_of_a_map_are_bounded_by_a_rule():
    assert FIELDS["labels"]["maxProperties"] == 3
    assert [rule["rule"] for rule in FIELDS["labels"]["x-kubernetes-validations"]] == [
        "self.all(key, size(key) >= 0 && size(key) <= 5)"
    ]


def test_a_union_that_no_structural_schema_can_hold_is_an_error():
    class Odd(SpecModel):
        value: bool | Annotated[str, Field(max_length=5)] = True

    with pytest.raises(ValueError, match="has no structural schema; use a whole number or a text"):
        structural(Odd)


def test_a_model_within_itself_is_an_error():
    with pytest.raises(ValueError, match="is recursive"):
        structural(Tree)


class Tree(SpecModel):
    children: tuple["Tree", ...] = ()


def test_status_has_no_defaults_no_enumerations_and_bounded_texts():
    class Status(BaseModel):
        colour: Colour = Colour.RED
        lines: list[str] = Field(default_factory=list, max_length=3)

    assert structural(Status, status=True)["properties"] == {
        "colour": {"type": "string", "maxLength": LONGEST_STATUS_TEXT},
        "lines": {
            "type": "array",
            "maxItems": 3,
            "items": {"type": "string", "maxLength": LONGEST_STATUS_TEXT},
        },
    }


def test_lists_whose_items_have_names_are_maps_to_server_side_apply():
    env = structural(ClusterSpec)["properties"]["workers"]["properties"]["env"]
    assert (env["x-kubernetes-list-type"], env["x-kubernetes-list-map-keys"]) == ("map", ["name"])
