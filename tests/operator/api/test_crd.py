import json
import re
import runpy
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from igpo_cluster.errors import ClusterError
from igpo_operator.api import crd
from igpo_operator.api.columns import columns_of
from igpo_operator.api.crd import definition, missing_fields, object_schema
from igpo_operator.api.kinds import CATEGORY, IGPO_TRAINING, KINDS
from igpo_trainer.spec.yaml_document import read_documents
from mutants.places import SCHEMAS

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "igpo-run.yaml"
BY_KIND = {kind.kind: kind for kind in KINDS}


def schemas_in(schema, path=""):
    """Every schema of a structural schema with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from schemas_in(inner, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if key in schema:
            yield from schemas_in(schema[key], path + mark)


SPEC_SCHEMAS = [
    pytest.param(schema, id=f"{kind}{path}")
    for kind, root in SCHEMAS.items()
    for path, schema in schemas_in(root["properties"]["spec"], ".spec")
]


@pytest.mark.parametrize("schema", SPEC_SCHEMAS)
def test_everything_in_spec_is_typed_bounded_and_not_nullable(schema):
    assert "x-kubernetes-preserve-unknown-fields" not in schema
    assert "nullable" not in schema
    if schema.get("x-kubernetes-int-or-string"):
        return
    if schema["type"] == "string":
        assert "maxLength" in schema or "enum" in schema
    if schema["type"] == "array":
        assert "maxItems" in schema
    if schema["type"] == "integer":
        assert {"minimum", "maximum"} <= schema.keys()
    if schema["type"] == "object":
        assert ("properties" in schema) != ("additionalProperties" in schema)
        assert "properties" in schema or "maxProperties" in schema


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_of_spec_says_what_it_means(kind):
    for path, schema in schemas_in(SCHEMAS[kind.kind]["properties"]["spec"]):
        for name, field in schema.get("properties", {}).items():
            assert re.fullmatch(r"\w.{8,}\.", field["description"], re.DOTALL), f"{path}.{name}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_committed_crds_are_up_to_date(kind):
    path = ROOT / "crds" / crd.file_name(kind)
    [document] = read_documents(path)
    assert document.value == json.loads(json.dumps(definition(kind))), "run `make generate` and commit crds/"


def test_the_module_writes_the_folder_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["crd", str(tmp_path / "crds")])
    monkeypatch.delitem(sys.modules, "igpo_operator.api.crd")
    runpy.run_module("igpo_operator.api.crd", run_name="__main__")
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "crds").iterdir()}
    assert written == {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "crds").iterdir()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_field_that_a_served_schema_lacks_is_found_wherever_it_stands(kind):
    served = deepcopy(object_schema(kind))
    assert missing_fields(kind, served) == []
    del served["properties"]["status"]["properties"]["attempts"]["items"]["properties"]["exitCode"]
    del served["properties"]["status"]["properties"]["attempt"]["properties"]["notBefore"]
    del served["properties"]["spec"]["properties"]["storage"]
    assert sorted(missing_fields(kind, served)) == [
        "spec.storage",
        "status.attempt.notBefore",
        "status.attempts[].exitCode",
    ]


def test_columns_say_what_they_show_and_need_no_wide_screen():
    for kind in KINDS:
        names = [column["name"] for column in columns_of(kind) if not column.get("priority")]
        own = ["Reward", "AllWrong"] if kind == IGPO_TRAINING else ["Loss", "Accuracy"]
        assert names == ["Phase", "Step", *own, "Restarts", "Age"]
        assert all(column["description"].endswith(".") for column in columns_of(kind))


def test_both_crds_are_served(api):
    for kind in KINDS:
        served = api.cluster.get("crd", f"{kind.plural}.igpo.dev")
        conditions = {condition["type"]: condition["status"] for condition in served["status"]["conditions"]}
        assert conditions["Established"] == conditions["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in conditions
        assert served["spec"]["versions"][0]["schema"]["openAPIV3Schema"].keys() == object_schema(kind).keys()


def test_kubectl_explain_reads_well(api):
    text = api.cluster.kubectl("explain", "igpo.spec.hints")
    assert "KIND:       IGPOTraining" in text
    assert "Hints for all-wrong groups." in text
    assert re.search(r"entropyKeepRatio\t<number>\n    Share τ of hint positions, the most uncertain ones", text)
    assert re.search(r"excludeAnswer\t<string>\n  enum: Anywhere, Statement\n    What never becomes a hint\.", text)
    text = api.cluster.kubectl("explain", "lasft.spec.training")
    assert re.search(r"batchSize\t<integer>\n    Number of traces per update, over all processes\.", text)
    text = api.cluster.kubectl("explain", "igpo.spec.workers.volumes.persistentVolumeClaim")
    assert re.search(r"claimName\t<string> -required-\n    Name of the PersistentVolumeClaim\.", text)
    assert "observedGeneration" in api.cluster.kubectl("explain", "igpo.status")


@pytest.mark.parametrize(("example", "runs"), [(EXAMPLE, 3), (EXAMPLE.with_name("length-aligned.yaml"), 2)])
def test_an_example_applies_as_it_is_and_again_without_a_change(api, namespace, example, runs):
    apply = ("apply", "--server-side", "-f", example, "-n", namespace, "-o", "json")
    first = json.loads(api.cluster.kubectl(*apply))
    again = json.loads(api.cluster.kubectl(*apply))
    versions = [[item["metadata"]["resourceVersion"] for item in answer["items"]] for answer in (first, again)]
    assert len(versions[0]) == runs
    assert versions[0] == versions[1]


def test_names_and_short_names_find_one_run_and_the_category_all(api, namespace):
    api.cluster.kubectl("apply", "--server-side", "-f", EXAMPLE, "-n", namespace)
    assert "word-problems" in api.cluster.kubectl("get", "igpo", "word-problems", "-n", namespace)
    assert "Name:" in api.cluster.kubectl("describe", "lasft", "word-problems", "-n", namespace)
    assert len(api.cluster.items(CATEGORY, "-n", namespace)) == 3


STATUS = {
    "observedGeneration": 1,
    "phase": "Running",
    "message": "Training.",
    "progress": {"step": 12, "plannedSteps": 20, "percentage": 60},
    "metrics": {"reward": "0.5", "allWrongInitial": "0.25", "allWrongFinal": "0.125", "accuracy": "0.4375"},
    "restarts": {"total": 1},
    "attempt": {"number": 2, "decidedAt": "2026-01-02T03:04:05Z"},
}


def test_kubectl_get_shows_a_run_at_a_glance(api, namespace):
    api.cluster.kubectl("apply", "--server-side", "-f", EXAMPLE, "-n", namespace)
    patch = json.dumps({"status": STATUS})
    for short in ("igpo", "lasft"):
        api.cluster.kubectl(
            "patch", short, "word-problems", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch
        )
    table = api.cluster.kubectl("get", "igpo/word-problems", "-n", namespace)
    assert table.split()[:6] == ["NAME", "PHASE", "STEP", "REWARD", "ALLWRONG", "RESTARTS"]
    assert table.splitlines()[1].split()[:6] == ["word-problems", "Running", "12", "0.5", "0.25", "1"]
    wide = api.cluster.kubectl("get", "lasft/word-problems", "-n", namespace, "-o", "wide")
    assert wide.splitlines()[1].split()[-4:] == ["20", "2", "1", "Training."]


def test_a_status_write_does_not_touch_spec_and_a_spec_write_not_status(api, namespace):
    api.cluster.kubectl("apply", "--server-side", "-f", EXAMPLE, "-n", namespace)
    patch = json.dumps({"spec": {"suspend": True}, "status": STATUS})
    arguments = ("patch", "igpo", "word-problems", "-n", namespace, "--type=merge", "-p", patch, "-o", "json")
    assert "status" not in json.loads(api.cluster.kubectl(*arguments))
    with_status = json.loads(api.cluster.kubectl(*arguments, "--subresource=status"))
    assert with_status["status"] == STATUS


def test_a_status_of_a_newer_operator_is_pruned_not_refused(api, namespace):
    api.cluster.kubectl("apply", "--server-side", "-f", EXAMPLE, "-n", namespace)
    patch = json.dumps({"status": {"phase": "Levitating", "somethingNew": 5}})
    arguments = ("patch", "igpo", "word-problems", "-n", namespace, "--subresource=status", "--type=merge")
    stored = json.loads(api.cluster.kubectl(*arguments, "-p", patch, "-o", "json"))
    assert stored["status"] == {"phase": "Levitating"}


def test_a_misspelt_field_is_refused_by_kubectl(api, namespace):
    run = {
        "apiVersion": "igpo.dev/v1alpha1",
        "kind": "IGPOTraining",
        "metadata": {"name": "run"},
        "spec": {"model": {"source": "x"}, "dataset": {"source": "x"}, "groupsize": 4},
    }
    with pytest.raises(ClusterError, match="groupsize"):
        api.cluster.apply(run, namespace=namespace)
