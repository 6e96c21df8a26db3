"""The end of a run is final, and nothing that ends costs a model."""

from igpo_cluster.cluster import Cluster
from igpo_cluster.images import Images
from igpo_cluster.waiting import until
from igpo_e2e.faults import run_folder
from igpo_e2e.manifests import SFT, tiny
from igpo_e2e.operator import Operator
from igpo_e2e.run import Body, Run
from igpo_e2e.sidecar import injecting_sidecars


def test_a_completed_run_whose_pods_are_deleted_stays_complete(
    cluster: Cluster, operator: Operator, trained: Run
) -> None:
    namespace = trained.namespace
    before = trained.body()
    cluster.kubectl(
        "delete", "pods", "-n", namespace, "-l", f"igpo.dev/run={trained.name},igpo.dev/kind={SFT}", "--wait=true"
    )
    operator.kill()  # also an operator that knows nothing of before
    operator.wait_ready()
    trained.patch({"runPolicy": {"stallTimeoutSeconds": 900}})
    generation = trained.body()["metadata"]["generation"]
    until(lambda: trained.status()["observedGeneration"] == generation, "the operator to have looked", 30, every=0.5)
    after = trained.status()

    assert trained.pods() == []
    assert after["completionTime"] == before["status"]["completionTime"]
    assert after["attempt"] == before["status"]["attempt"]


def test_the_ttl_takes_pods_and_services_but_neither_run_nor_volume(cluster: Cluster, training: str) -> None:
    run = Run(cluster, SFT, training, "brief").apply(tiny(SFT, "brief", runPolicy={"ttlSecondsAfterFinished": 3}))
    status = run.wait_complete()
    folder = run_folder(run)
    released = run.wait_released()

    assert released["phase"] == "Complete"
    assert released["checkpoint"] == status["checkpoint"]
    assert run.children() == ["PersistentVolumeClaim"]
    assert (folder / "final" / "model.safetensors").is_file()


def test_deleting_a_run_leaves_only_a_volume_that_is_to_be_retained(cluster: Cluster, training: str) -> None:
    kept = Run(cluster, SFT, training, "kept").apply(tiny(SFT, "kept"))
    dropped = Run(cluster, SFT, training, "dropped").apply(tiny(SFT, "dropped", storage={"retainPolicy": "Delete"}))
    for run in (kept, dropped):
        run.wait_pods("two", lambda pods: len(pods) == 2)
        run.delete()

    kept.wait_children(["PersistentVolumeClaim"], within=60)
    dropped.wait_children([], within=60)


def test_a_sidecar_that_never_ends_does_not_hold_completion(cluster: Cluster, training: str, images: Images) -> None:
    brief = tiny(SFT, "accompanied", runPolicy={"terminationGracePeriodSeconds": 10})
    with injecting_sidecars(cluster, images.trainer, run="accompanied"):
        run = Run(cluster, SFT, training, "accompanied").apply(brief)
        pods = run.wait_pods("two", lambda pods: len(pods) == 2)
    assert all("sidecar" in {c["name"] for c in pod["spec"]["containers"]} for pod in pods)
    status = run.wait_complete()

    assert status["attempt"]["number"] == 1
    assert status["progress"]["percentage"] == 100
    run.wait_pods("no container that runs", lambda pods: not any(map(_runs, pods)))


def _runs(pod: Body) -> bool:
    return any("running" in found["state"] for found in pod["status"].get("containerStatuses", []))
