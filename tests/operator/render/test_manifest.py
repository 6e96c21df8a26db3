from igpo_operator.api.spec import spec_of
from igpo_operator.render.gang import Gang
from igpo_operator.render.manifest import manifest, run_yaml
from igpo_trainer.spec.cluster import CLUSTER_FIELDS
from igpo_trainer.spec.identity import document_hash, run_hash
from igpo_trainer.spec.manifest import load_manifest
from igpo_trainer.spec.yaml_document import read_documents


def gang(golden, name, **changes):
    arguments = golden.arguments(name) | changes
    return Gang(**arguments)


def with_spec(golden, name, **fields):
    """The gang of an input whose stored spec has other fields."""
    from ruamel.yaml import YAML

    raw = YAML(typ="safe").load((golden.FOLDER / "input" / f"{name}.yaml").read_text())["spec"]
    return gang(golden, name, resource=spec_of(golden.arguments(name)["kind"], raw | fields))


def test_the_trainer_reads_the_run_that_the_operator_means(golden, name, tmp_path):
    run = gang(golden, name)
    path = tmp_path / "run.yaml"
    path.write_text(run_yaml(run))
    (document,) = load_manifest(path)
    assert (document.kind, document.name) == (run.kind.kind, run.name)
    trainer = run.resource.trainer
    assert document.spec == trainer.model_copy(update={"suspend": False})
    assert document_hash(document) == run_hash(run.kind.kind, trainer)


def test_the_manifest_holds_no_field_of_the_cluster_and_never_suspend(golden, name, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(run_yaml(gang(golden, name)))
    spec = read_documents(path)[0].value["spec"]
    assert not spec.keys() & (CLUSTER_FIELDS | {"suspend"})
    assert spec.get("workers", {}).keys() <= {"replicas", "gpusPerWorker"}


def test_a_default_is_left_out_so_that_an_older_trainer_need_not_know_its_field(golden):
    assert run_yaml(with_spec(golden, "minimal", seed=0)) == run_yaml(gang(golden, "minimal"))
    assert "seed" not in run_yaml(gang(golden, "minimal"))


def test_another_content_has_another_name_and_cannot_be_changed(golden):
    first, same = manifest(gang(golden, "queued")), manifest(gang(golden, "queued", attempt=13))
    other = manifest(with_spec(golden, "queued", batching={"rolloutRows": 32}))
    assert first == same
    assert first["metadata"]["name"] != other["metadata"]["name"]
    assert first["immutable"] is True
    assert list(first["data"]) == ["run.yaml"]


def test_resuming_from_suspend_keeps_the_name(golden):
    assert manifest(with_spec(golden, "queued", suspend=False)) == manifest(gang(golden, "queued"))
