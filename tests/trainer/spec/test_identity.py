import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from igpo_trainer.spec.cluster import CLUSTER_FIELDS
from igpo_trainer.spec.document import KINDS
from igpo_trainer.spec.field_path import yaml_names
from igpo_trainer.spec.identity import MUTABLE_FIELDS, PACE_FIELDS, run_hash, spec_hash
from igpo_trainer.spec.sft import RewriteSpec

DOCUMENT = {"apiVersion": "igpo.dev/v1alpha1", "kind": "IGPOTraining", "metadata": {"name": "a"}, "spec": {"seed": 3}}


@given(st.sampled_from(sorted(MUTABLE_FIELDS)), st.integers() | st.text() | st.booleans())
def test_the_hash_ignores_what_may_change_between_attempts(field, value):
    changed = {**DOCUMENT, "spec": {**DOCUMENT["spec"], field: value}}
    assert spec_hash(changed) == spec_hash(DOCUMENT)


def test_the_hash_ignores_metadata_and_status():
    assert spec_hash({**DOCUMENT, "metadata": {"name": "b"}, "status": {"phase": "Running"}}) == spec_hash(DOCUMENT)


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"seed": "3"}, {"seed": True}, {"seed": None}, {"seed": 3, "steps": 1}, {}]
)
def test_the_hash_tells_every_other_change(change):
    assert spec_hash({**DOCUMENT, "spec": change}) != spec_hash(DOCUMENT)


@pytest.mark.parametrize("field", sorted(PACE_FIELDS["rewrite"]))
def test_the_pace_of_a_rewrite_is_not_part_of_the_hash(field):
    rewrite = {"teacher": {"model": "m"}, "maxTokens": 9}
    plain, paced = ({**DOCUMENT, "spec": {"rewrite": rewrite | extra}} for extra in ({}, {field: 3}))
    assert spec_hash(plain) == spec_hash(paced)
    other = {**DOCUMENT, "spec": {"rewrite": rewrite | {"maxTokens": 8}}}
    assert spec_hash(other) != spec_hash(plain)


def test_every_field_of_the_pace_exists():
    assert PACE_FIELDS["rewrite"] <= {to_camel(name) for name in RewriteSpec.model_fields}


def test_the_kind_is_part_of_the_hash():
    assert spec_hash({**DOCUMENT, "kind": "LengthAlignedSFT"}) != spec_hash(DOCUMENT)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    if isinstance(value, list):
        return [reordered(item) for item in value]
    return float(value) if type(value) is int else value


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_the_hash_does_not_depend_on_key_order_or_how_a_whole_number_is_written(spec):
    document = {**DOCUMENT, "spec": spec}
    assert spec_hash(reordered(document)) == spec_hash(document)


def test_every_cluster_field_may_change_and_every_field_that_may_change_exists():
    names = {name for model in KINDS.values() for name in yaml_names(model)}
    assert names.isdisjoint(CLUSTER_FIELDS)
    assert CLUSTER_FIELDS <= MUTABLE_FIELDS <= names | CLUSTER_FIELDS


def test_a_default_written_down_and_one_left_out_are_the_same_run():
    model = {"scratch": {"maxPositions": 1024}, "precision": "FP32"}
    spec = KINDS["IGPOTraining"].model_validate({"model": model, "dataset": {"source": "builtin:word-problems"}})
    written = spec.model_copy(update={"seed": spec.seed, "suspend": True})
    explicit = KINDS["IGPOTraining"].model_validate(spec.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert run_hash("IGPOTraining", spec) == run_hash("IGPOTraining", written) == run_hash("IGPOTraining", explicit)
    assert len(run_hash("IGPOTraining", spec)) == 64
