import pytest

from igpo_trainer.spec.cluster import CLUSTER_FIELDS, CLUSTER_WORKER_FIELDS
from igpo_trainer.spec.document import KINDS
from igpo_trainer.spec.field_path import yaml_names
from igpo_trainer.spec.json_schema import document_schema, manifest_schema
from igpo_trainer.spec.run import WorkersSpec


def references(schema):
    if isinstance(schema, dict):
        yield from ([schema["$ref"]] if isinstance(schema.get("$ref"), str) else [])
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_knows_exactly_the_fields_of_the_kind_and_the_clusters(kind):
    schema = document_schema(kind)
    spec = schema["properties"]["spec"]
    assert set(spec["properties"]) == set(yaml_names(KINDS[kind])) | CLUSTER_FIELDS
    assert spec["additionalProperties"] is False
    workers = schema["$defs"]["WorkersSpec"]
    assert set(workers["properties"]) == set(yaml_names(WorkersSpec)) | CLUSTER_WORKER_FIELDS
    assert schema["properties"]["kind"] == {"const": kind}
    assert schema["properties"]["metadata"]["properties"]["name"]["maxLength"] == 47


@pytest.mark.parametrize("schema", [manifest_schema(), *map(document_schema, KINDS)])
def test_every_reference_has_a_definition(schema):
    found = set(references(schema))
    assert found
    assert {name.removeprefix("#/$defs/") for name in found} <= set(schema["$defs"])


def test_limits_and_meanings_are_part_of_the_schema():
    group_size = document_schema("IGPOTraining")["properties"]["spec"]["properties"]["groupSize"]
    assert (group_size["minimum"], group_size["maximum"], group_size["default"]) == (2, 256, 8)
    assert group_size["description"] == "Number G of completions per prompt."


def test_the_manifest_schema_is_one_of_both_kinds():
    kinds = [document["properties"]["kind"]["const"] for document in manifest_schema()["oneOf"]]
    assert kinds == list(KINDS)
