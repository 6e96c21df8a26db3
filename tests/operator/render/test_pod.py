from dataclasses import replace

import pytest

from igpo_operator.api.reasons import Stage
from igpo_operator.api.workers import Workers
from igpo_operator.render.pod import resources


def containers(pods):
    return [pod["spec"]["containers"][0] for pod in pods]


def test_a_pod_runs_once_and_has_no_token(golden, name):
    for pod in golden.rendered(name).pods:
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        assert pod["spec"]["hostname"] == pod["metadata"]["name"]


def test_only_rank_0_has_the_metrics_port(golden):
    first, second = containers(golden.rendered("gang").pods)
    assert [(port["name"], port["containerPort"]) for port in first["ports"]] == [("metrics", 9400)]
    assert "ports" not in second


def test_ranks_differ_in_name_place_and_port_only(golden):
    first, second = golden.rendered("gang").pods
    texts = [str(pod) for pod in (first, second)]
    assert first["metadata"]["labels"]["igpo.dev/rank"] == "0"
    assert second["metadata"]["labels"]["igpo.dev/rank"] == "1"
    assert texts[0].count("gsm8k-igpo-a3-1") == 0
    assert {key for key in first["spec"] if first["spec"][key] != second["spec"][key]} == {"hostname", "containers"}
    ours, theirs = containers([first, second])
    assert {key for key in ours if ours[key] != theirs.get(key)} == {"env", "ports"}


def test_the_launcher_is_told_how_long_to_linger(golden):
    (trainer,) = containers(golden.rendered("minimal", linger_seconds=7.5).pods)
    assert trainer["command"] == ["env", "--block-signal=TERM", "igpo-launch", "--linger-seconds=7.5"]


def test_the_grace_period_is_the_kubelets_and_the_launchers(golden, name):
    for pod in golden.rendered(name).pods:
        env = {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0]["env"]}
        assert env["IGPO_GRACE_SECONDS"] == str(pod["spec"]["terminationGracePeriodSeconds"])


def test_a_variable_of_the_manifest_replaces_ours_and_none_is_there_twice(golden, name):
    for trainer in containers(golden.rendered(name).pods):
        names = [variable["name"] for variable in trainer["env"]]
        assert len(names) == len(set(names))
    (trainer,) = containers(golden.rendered("overrides").pods)
    assert {"name": "HF_HOME", "value": "/cache"} in trainer["env"]


def test_labels_and_annotations_of_the_manifest_win_over_defaults_and_lose_to_the_operators(golden):
    (pod,) = golden.rendered("overrides").pods
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
    assert pod["metadata"]["labels"]["igpo.dev/run"] == "overrides"
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "false"
    assert pod["metadata"]["annotations"]["linkerd.io/inject"] == "disabled"


def test_a_queued_gang_is_one_group_of_its_size_and_keeps_it_over_attempts(golden):
    pods = golden.rendered("queued").pods + golden.rendered("queued", attempt=13).pods
    groups = {pod["metadata"]["labels"]["kueue.x-k8s.io/pod-group-name"] for pod in pods}
    assert groups == {"7b-queued-igpo-0a1b2-2"}
    assert {pod["metadata"]["annotations"]["kueue.x-k8s.io/pod-group-total-count"] for pod in pods} == {"2"}
    assert {pod["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] for pod in pods} == {"low"}


def test_a_run_without_a_queue_has_nothing_of_kueue(golden):
    assert "kueue" not in str(golden.rendered("gang").pods)


def test_one_claim_is_one_volume_mounted_twice(golden):
    (pod,) = golden.rendered("shared-claim").pods
    claims = [volume for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
    assert claims == [{"name": "igpo-run", "persistentVolumeClaim": {"claimName": "team-volume"}}]
    mounts = [mount for mount in pod["spec"]["containers"][0]["volumeMounts"] if mount["name"] == "igpo-run"]
    assert mounts == [
        {"name": "igpo-run", "mountPath": "/var/lib/igpo", "subPath": "runs/rl"},
        {"name": "igpo-run", "mountPath": "/var/lib/igpo-from", "subPath": "runs/sft", "readOnly": True},
    ]
    assert golden.rendered("shared-claim").claim is None


def test_the_network_of_the_node_comes_with_its_dns(golden):
    from igpo_operator.api.spec import spec_of

    run = golden.arguments("minimal")
    raw = {"model": {"source": "/m"}, "dataset": {"source": "/d.jsonl"}, "training": {"steps": 1, "batchSize": 1}}
    on_host = spec_of(run["kind"], raw | {"workers": {"hostNetwork": True}})
    (pod,) = golden.rendered("minimal", resource=on_host).pods
    assert (pod["spec"]["hostNetwork"], pod["spec"]["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    (other,) = golden.rendered("minimal").pods
    assert not {"hostNetwork", "dnsPolicy"} & other["spec"].keys()


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ({}, {}),
        ({"gpusPerWorker": 4}, {"limits": {"nvidia.com/gpu": "4"}}),
        ({"resources": {"requests": {"cpu": 2}}}, {"requests": {"cpu": "2"}}),
        (
            {"extraResources": {"rdma/hca": 1}, "resources": {"limits": {"memory": "1Gi"}}},
            {"requests": {"rdma/hca": "1"}, "limits": {"memory": "1Gi", "rdma/hca": "1"}},
        ),
    ],
)
def test_resources_are_what_the_manifest_says_and_gpus(workers, expected):
    assert resources(Workers.model_validate(workers)) == expected


def test_a_run_with_gpus_tolerates_their_taint_and_nccl_says_what_fails_unless_the_manifest_says_otherwise(golden):
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    spec_of_gang = golden.rendered("gang").pods[0]["spec"]
    assert taint in spec_of_gang["tolerations"]
    assert {"name": "NCCL_DEBUG", "value": "WARN"} in containers(golden.rendered("gang").pods)[0]["env"]
    (plain,) = golden.rendered("minimal").pods
    assert "tolerations" not in plain["spec"]
    assert "NCCL_DEBUG" not in str(plain)

    resource = golden.arguments("gang")["resource"]
    theirs = {
        "gpusPerWorker": 8,
        "tolerations": [{"key": "nvidia.com/gpu", "value": "a100", "effect": "NoExecute"}],
        "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
    }
    cluster = resource.cluster.model_copy(update={"workers": Workers.model_validate(theirs)})
    named = golden.rendered("gang", resource=replace(resource, cluster=cluster)).pods[0]
    assert named["spec"]["tolerations"] == theirs["tolerations"]
    values = [it["value"] for it in containers([named])[0]["env"] if it["name"] == "NCCL_DEBUG"]
    assert values == ["INFO"]


def test_the_pod_that_rewrites_is_one_where_the_gang_will_be_without_gpus_and_queue(golden):
    (pod,), gang = golden.rendered("rewriting").pods, golden.rendered("rewriting", stage=Stage.TRAINING, attempt=2).pods
    assert len(gang) == 2
    for where in ("nodeSelector", "tolerations", "volumes", "securityContext", "terminationGracePeriodSeconds"):
        assert pod["spec"][where] == gang[0]["spec"][where]
    ours, theirs = containers([pod, gang[0]])
    assert ours["resources"] == {"requests": {"cpu": "16", "memory": "128Gi"}, "limits": {"memory": "128Gi"}}
    assert theirs["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert (ours["image"], ours["volumeMounts"], ours["ports"]) == (
        theirs["image"], theirs["volumeMounts"], theirs["ports"]
    )  # fmt: skip
    assert ours["command"] == ["env", "--block-signal=TERM", "igpo-rewrite", "--linger-seconds=60"]
    assert "kueue" not in str(pod)
    assert pod["metadata"]["labels"]["igpo.dev/stage"] == "Rewriting"
    assert "igpo.dev/stage" not in gang[0]["metadata"]["labels"]


def test_only_the_pod_that_rewrites_is_given_the_teachers_key_and_only_by_reference(golden):
    (pod,), gang = golden.rendered("rewriting").pods, golden.rendered("rewriting", stage=Stage.TRAINING).pods
    (key,) = [it for it in containers([pod])[0]["env"] if it["name"] == "IGPO_TEACHER_API_KEY"]
    assert key == {
        "name": "IGPO_TEACHER_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "teacher", "key": "token"}},
    }
    names = {it["name"] for it in containers([pod])[0]["env"]}
    assert {"IGPO_RUN_ID", "IGPO_ATTEMPT", "IGPO_GRACE_SECONDS", "HF_HOME", "HTTPS_PROXY"} <= names
    assert not any(name.startswith(("PET_", "MASTER_")) for name in names)
    assert "IGPO_TEACHER_API_KEY" not in str(gang)


def test_a_teacher_without_a_key_gets_none(golden):
    spec = golden.arguments("rewriting")["resource"].trainer
    teacher = spec.rewrite.teacher.model_copy(update={"api_key_secret_ref": None})
    keyless = spec.model_copy(update={"rewrite": spec.rewrite.model_copy(update={"teacher": teacher})})
    resource = replace(golden.arguments("rewriting")["resource"], trainer=keyless)
    assert "IGPO_TEACHER_API_KEY" not in str(golden.rendered("rewriting", resource=resource).pods)


def test_one_manifest_and_one_set_of_services_serve_both_stages(golden):
    first, then = golden.rendered("rewriting"), golden.rendered("rewriting", stage=Stage.TRAINING, attempt=2)
    assert (first.manifest, first.service, first.network_policy, first.claim) == (
        then.manifest, then.service, then.network_policy, then.claim
    )  # fmt: skip
