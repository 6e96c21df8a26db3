import pytest

from igpo_operator.api.cluster import ClusterSpec
from igpo_operator.api.kinds import IGPO_TRAINING, KINDS, LENGTH_ALIGNED_SFT, kind_named
from igpo_operator.api.spec import SpecError, spec_of
from igpo_operator.api.storage import DEFAULT_SIZE
from igpo_operator.api.workers import Workers
from igpo_trainer.spec.cluster import CLUSTER_FIELDS, CLUSTER_WORKER_FIELDS
from igpo_trainer.spec.contract import (
    ATTEMPT_VARIABLE,
    EXIT_FILE_VARIABLE,
    RESERVED_VARIABLE_PREFIXES,
    RUN_ID_VARIABLE,
)
from igpo_trainer.spec.document import KINDS as SPEC_MODELS
from igpo_trainer.spec.field_path import yaml_names
from igpo_trainer.spec.run import WorkersSpec

BASE = {"model": {"source": "x"}, "dataset": {"source": "data"}}


def problems(**fields):
    with pytest.raises(SpecError) as caught:
        spec_of(IGPO_TRAINING, BASE | fields)
    return str(caught.value).splitlines()


def test_the_trainer_accepts_exactly_the_cluster_fields_that_the_operator_has():
    assert set(yaml_names(ClusterSpec)) - {"workers"} == CLUSTER_FIELDS
    assert set(yaml_names(Workers)) - set(yaml_names(WorkersSpec)) == CLUSTER_WORKER_FIELDS


def test_both_kinds_are_models_of_the_trainer():
    assert {kind.kind for kind in KINDS} == SPEC_MODELS.keys()
    assert kind_named("LengthAlignedSFT") is LENGTH_ALIGNED_SFT


def test_a_spec_becomes_what_the_trainer_reads_and_what_the_cluster_reads():
    resource = spec_of(
        IGPO_TRAINING,
        BASE
        | {
            "steps": 5,
            "image": "igpo:1",
            "workers": {"replicas": 2, "gpusPerWorker": 8, "nodeSelector": {"pool": "a"}},
            "storage": {"accessModes": ["ReadWriteMany"], "size": "200Gi"},
            "runPolicy": {"queueName": "gpus"},
        },
    )
    assert resource.trainer.steps == 5
    assert resource.trainer.workers == WorkersSpec(replicas=2, gpus_per_worker=8)
    assert resource.cluster.workers.replicas == 2
    assert resource.cluster.workers.node_selector == {"pool": "a"}
    assert resource.cluster.image == "igpo:1"
    assert resource.cluster.run_policy.queue_name == "gpus"
    assert (resource.cluster.storage.claim_size, resource.cluster.storage.claim_access_modes) == (
        "200Gi",
        ("ReadWriteMany",),
    )


def test_a_run_without_cluster_fields_gets_a_retained_volume_and_three_retries():
    cluster = spec_of(IGPO_TRAINING, BASE).cluster
    assert cluster == ClusterSpec()
    assert (cluster.storage.claim_size, cluster.storage.claim_access_modes) == (DEFAULT_SIZE, ("ReadWriteOnce",))
    assert cluster.storage.retain_policy == "Retain"
    assert cluster.run_policy.backoff_limit == 3
    assert cluster.managed_by == "igpo.dev/operator"


def test_every_problem_of_both_parts_is_told_once_with_path_value_and_remedy():
    assert sorted(problems(steps=0, workers={"replicas": 0, "shmSize": "lots", "hostname": "x"})) == [
        "spec.steps 0 is below the limit 1; set 1 or more",
        "spec.workers.hostname is not a field; did you mean hostNetwork?",
        "spec.workers.replicas 0 is below the limit 1; set 1 or more",
        'spec.workers.shmSize "lots" is not a whole number and does not match the pattern '
        r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$; write a whole number or correct it",
    ]


def test_text_is_no_number_and_a_number_no_text():
    assert problems(image=5) == ["spec.image 5 is not text; put it in quotes"]
    assert problems(workers={"replicas": "2"}) == [
        'spec.workers.replicas "2" is not a whole number; write a whole number'
    ]
    assert problems(workers=5) == ["spec.workers 5 is not an object; write an object"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"workers": {"replicas": 2}},
            "spec.workers.replicas 2 needs a volume that several nodes can write; set storage.accessModes: "
            "[ReadWriteMany] (and a class that offers it) or storage.claimName",
        ),
        (
            {"storage": {"claimName": "mine", "size": "1Gi"}},
            "spec.storage.claimName uses a claim that exists; remove size, storageClassName and accessModes, or remove "
            "claimName",
        ),
        (
            {"storage": {"claimName": "mine", "retainPolicy": "Delete"}},
            "spec.storage.retainPolicy Delete is for claims that the operator made; set Retain or remove claimName",
        ),
        ({"storage": {"size": "0Gi"}}, "spec.storage.size 0Gi is no room at all; set an amount such as 200Gi"),
        (
            {"workers": {"env": [{"name": "MASTER_ADDR", "value": "x"}]}},
            "spec.workers.env[0].name MASTER_ADDR is set by the operator; remove it",
        ),
        (
            {"workers": {"labels": {"kueue.x-k8s.io/queue-name": "q"}}},
            "spec.workers.labels has kueue.x-k8s.io/queue-name; keys of igpo.dev/ and kueue.x-k8s.io/ are the "
            "operator's, remove it",
        ),
        (
            {"workers": {"env": [{"name": "A"}, {"name": "A"}]}},
            "spec.workers.env repeats name A; keep one of them",
        ),
        (
            {"workers": {"extraResources": {"nvidia.com/gpu": 1}}},
            "spec.workers.extraResources has nvidia.com/gpu; set workers.gpusPerWorker instead",
        ),
        (
            {"workers": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}}},
            "spec.workers.resources.requests of memory 1Gi are above its limit 1G; lower them",
        ),
        (
            {"workers": {"podSecurityContext": {"runAsUser": 0, "runAsNonRoot": True}}},
            "spec.workers.podSecurityContext.runAsUser 0 is root, which runAsNonRoot refuses; remove one of them",
        ),
        (
            {"runPolicy": {"workloadPriorityClassName": "high"}},
            "spec.runPolicy.workloadPriorityClassName belongs to Kueue; set queueName as well or remove it",
        ),
    ],
)
def test_a_rule_over_cluster_fields_names_the_field_and_the_remedy(fields, problem):
    assert problem in problems(**fields)


def test_the_variables_of_the_contract_are_reserved():
    assert all(
        name.startswith(RESERVED_VARIABLE_PREFIXES) for name in (RUN_ID_VARIABLE, ATTEMPT_VARIABLE, EXIT_FILE_VARIABLE)
    )


def test_pod_fields_come_back_as_they_were_written():
    workers = {
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
            {"name": "token", "projected": {"sources": [{"downwardAPI": {"items": []}}]}},
        ],
        "securityContext": {"seLinuxOptions": {"level": "s0"}, "runAsUser": 0},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}},
    }
    parsed = spec_of(IGPO_TRAINING, BASE | {"workers": workers}).cluster.workers
    dumped = parsed.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert dumped == workers | {"replicas": 1, "gpusPerWorker": 0}
