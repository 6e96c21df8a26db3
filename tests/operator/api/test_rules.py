import re

import pytest
from pydantic import BaseModel

from igpo_operator.api.cluster import ClusterSpec
from igpo_operator.api.formats import REMEDIES
from igpo_operator.api.rule import Rule, exactly_one
from igpo_operator.api.rules import LIST_KEYS, RULES, rules_of
from igpo_trainer.spec.document import KINDS
from igpo_trainer.spec.field_path import models_in
from mutants.places import SCHEMAS, rules_below


def models_of(model: type[BaseModel]):
    yield model
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            yield from models_of(inner)


MODELS = {model for root in (*KINDS.values(), ClusterSpec) for model in models_of(root)}
EVERY_RULE = {rule["rule"]: rule for schema in SCHEMAS.values() for rule in rules_below(schema)}


@pytest.mark.parametrize("model", sorted(MODELS, key=lambda model: model.__name__), ids=lambda model: model.__name__)
def test_a_validator_has_a_twin_in_cel_and_the_other_way_round(model):
    listed = {name for name, _ in LIST_KEYS}
    twins = len(rules_of(model)) + (model.__name__ in listed)
    assert bool(model.__pydantic_decorators__.model_validators) == bool(twins)


def test_every_rule_belongs_to_a_model_that_is_part_of_a_run():
    assert {ancestor for model in MODELS for ancestor in model.__mro__} >= RULES.keys()


@pytest.mark.parametrize("rule", EVERY_RULE.values(), ids=EVERY_RULE.keys())
def test_a_message_says_what_to_do(rule):
    message = rule["message"]
    assert ";" in message or re.match(r"must be Auto or a whole number from", message)
    assert len(message) < 200
    assert not message.endswith(".")


def test_every_remedy_belongs_to_a_pattern_that_is_in_use():
    rules = " ".join(EVERY_RULE) + str(SCHEMAS)
    assert [pattern for pattern in REMEDIES if pattern not in rules and repr(pattern)[1:-1] not in rules] == []


def test_a_rule_stands_in_the_crd_with_its_place():
    assert Rule("a", "b").document() == {"rule": "a", "message": "b"}
    assert Rule("a", "b", ".c").document() == {"rule": "a", "message": "b", "fieldPath": ".c"}


def test_exactly_one_counts_what_is_there():
    rule = exactly_one("a", "b", "c")
    assert rule.rule == "(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) + (has(self.c) ? 1 : 0) == 1"
    assert rule.message == "exactly one of a, b and c must be set; keep one"
