import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.api.kinds import IGPO_TRAINING, KINDS, LENGTH_ALIGNED_SFT
from igpo_operator.api.spec import spec_of
from igpo_operator.api.status import Resolved
from igpo_operator.render.attempt import objects
from igpo_trainer.spec.contract import MAX_ATTEMPT, MAX_NAME_LENGTH


def test_every_golden_manifest_is_rendered_as_stored(golden, name):
    assert golden.output(name) == golden.golden(name), "tests/operator/render/golden.py writes them again"


def test_every_output_has_an_input(golden):
    outputs = {path.stem for path in golden.FOLDER.glob("output/*")}
    assert outputs == set(golden.NAMES)


def test_the_same_arguments_give_the_same_objects(golden, name):
    assert golden.rendered(name) == golden.rendered(name)


def test_every_object_says_whose_it_is(golden, name):
    run = golden.arguments(name)
    for it in golden.every(golden.rendered(name)):
        labels = it["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "igpo-operator"
        assert (labels["igpo.dev/kind"], labels["igpo.dev/run"]) == (run["kind"].kind, run["name"])
        assert it["metadata"]["namespace"] == "research"


def test_everything_but_a_retained_claim_goes_with_its_run(golden, name):
    these = golden.rendered(name)
    retained = golden.arguments(name)["resource"].cluster.storage.retain_policy == "Retain"
    for it in golden.every(these):
        owners = it["metadata"].get("ownerReferences", [])
        if it is these.claim and retained:
            assert owners == []
        else:
            assert [(owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) for owner in owners] == [
                (golden.UID, True, True)
            ]


MODEL = {"scratch": {"maxPositions": 64}, "precision": "FP32"}
SPECS = {
    IGPO_TRAINING: {
        "model": MODEL,
        "dataset": {"source": "builtin:word-problems", "maxPromptTokens": 40},
        "sampling": {"completionLength": 24, "steps": 12, "blockLength": 8},
    },
    LENGTH_ALIGNED_SFT: {
        "model": MODEL,
        "dataset": {"source": "builtin:word-problems", "maxPromptTokens": 40},
        "length": {"target": 24},
        "training": {"steps": 3, "batchSize": 8},
        "sampling": {"completionLength": 24, "steps": 12, "blockLength": 8},
    },
}


def gang(kind, name="x", *, attempt=1, epoch=0, **spec):
    """The objects of a small run with cluster fields."""
    raw = SPECS[kind] | {"storage": {"accessModes": ["ReadWriteMany"]}} | spec
    return objects(
        kind=kind,
        namespace="research",
        name=name,
        uid="0a1b2c3d-0000-4000-8000-000000000001",
        resource=spec_of(kind, raw),
        resolved=Resolved(image="trainer", queue_epoch=epoch),
        attempt=attempt,
        linger_seconds=0.5,
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short)
def test_every_name_of_the_longest_run_fits_a_dns_label(kind):
    these = gang(
        kind,
        "n" * MAX_NAME_LENGTH,
        attempt=MAX_ATTEMPT,
        epoch=MAX_ATTEMPT,
        workers={"replicas": 1024},
        runPolicy={"queueName": "q" * 63},
    )
    assert len(these.pods) == 1024
    every = [these.manifest, these.service, these.network_policy, these.claim, *these.pods]
    names = {it["metadata"]["name"] for it in every}
    assert len(names) >= len(every) - 1
    assert max(map(len, names)) <= 63
    last = these.pods[-1]
    assert last["metadata"]["name"].endswith("-a999-1023")
    assert all(len(value) <= 63 for value in last["metadata"]["labels"].values())
    assert last["spec"]["hostname"] == last["metadata"]["name"]


def test_both_kinds_may_use_one_name():
    names = [
        {(it["kind"], it["metadata"]["name"]) for it in (o.manifest, o.service, o.network_policy, o.claim, *o.pods)}
        for o in (gang(IGPO_TRAINING), gang(LENGTH_ALIGNED_SFT))
    ]
    assert names[0].isdisjoint(names[1])


def test_a_service_begins_with_a_letter_whatever_the_run_begins_with():
    these = gang(IGPO_TRAINING, "7b")
    assert these.service["metadata"]["name"] == "igpo-7b"
    assert {pod["spec"]["subdomain"] for pod in these.pods} == {"igpo-7b"}


def test_only_labels_of_all_attempts_select_pods():
    first, second = gang(IGPO_TRAINING), gang(IGPO_TRAINING, attempt=2)
    assert first.service == second.service
    assert first.network_policy == second.network_policy
    assert first.manifest == second.manifest
    selector = first.service["spec"]["selector"]
    assert all(selector.items() <= pod["metadata"]["labels"].items() for pod in first.pods + second.pods)
    assert first.pods[0]["metadata"]["name"] != second.pods[0]["metadata"]["name"]


def test_nobody_reads_metrics_when_no_scraper_is_named(golden):
    policy = golden.rendered("minimal", scrapers=()).network_policy["spec"]
    assert policy["ingress"] == [{"from": [{"podSelector": policy["podSelector"]}]}]


@given(st.integers(1, 8), st.integers(0, 8), st.integers(1, MAX_ATTEMPT))
def test_torchrun_and_other_launchers_are_told_the_same(replicas, gpus, attempt):
    these = gang(IGPO_TRAINING, attempt=attempt, workers={"replicas": replicas, "gpusPerWorker": gpus})
    ranks = []
    for index, pod in enumerate(these.pods):
        env = {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}
        processes = int(env["PET_NPROC_PER_NODE"])
        assert processes == max(1, gpus)
        assert int(env["WORLD_SIZE"]) == int(env["PET_NNODES"]) * processes == replicas * processes
        assert int(env["RANK"]) == int(env["PET_NODE_RANK"]) * processes == index * processes
        assert env["MASTER_ADDR"] == env["PET_MASTER_ADDR"]
        assert env["MASTER_PORT"] == env["PET_MASTER_PORT"]
        assert env["PET_RDZV_ID"] == f"{env['IGPO_RUN_ID']}-{env['IGPO_ATTEMPT']}"
        host, subdomain = env["MASTER_ADDR"].split(".")
        assert (host, subdomain) == (these.pods[0]["spec"]["hostname"], pod["spec"]["subdomain"])
        ranks += range(int(env["RANK"]), int(env["RANK"]) + processes)
    assert ranks == list(range(replicas * max(1, gpus)))
