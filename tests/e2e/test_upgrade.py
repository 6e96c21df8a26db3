"""An upgrade of the chart never changes a run that has begun; from the release before, and to another trainer.

The command and the promises are those of docs/upgrade.md.
"""

import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from igpo_cluster.cluster import Cluster
from igpo_cluster.history import previous_tree
from igpo_cluster.images import Images
from igpo_cluster.waiting import until
from igpo_e2e.faults import run_folder
from igpo_e2e.inventory import inventory, of_releases
from igpo_e2e.manifests import RL, SFT, slow, tiny
from igpo_e2e.operator import NAMESPACE, Operator
from igpo_e2e.ranks import rank_process
from igpo_e2e.recorder import Record
from igpo_e2e.rendering import missing, planned_pods
from igpo_e2e.run import Body, Run
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import StepRecord

STEPS = 60
ONE_GPU = {"gpusPerWorker": 1}
"""The node says that it has GPUs: what N renders otherwise concerns runs that ask for them."""

pytestmark = [pytest.mark.timeout(1500), pytest.mark.usefixtures("gpus")]


def test_after_an_upgrade_a_restarted_gang_has_the_old_image(
    cluster: Cluster, operator: Operator, training: str
) -> None:
    run = Run(cluster, RL, training, "steady").apply(slow("steady", steps=24))
    run.wait_checkpoint(2)
    image = run.pod(0)["spec"]["containers"][0]["image"]
    operator.install(trainerImage={"tag": "next"})
    try:
        rank_process(run, 1).send(signal.SIGKILL)
        status = run.wait_complete()
    finally:
        operator.install()

    assert status["attempt"]["number"] == 2
    assert status["resolved"]["image"] == image
    assert {pod["spec"]["containers"][0]["image"] for pod in run.pods(2)} == {image}


@dataclass(frozen=True)
class Upgraded:
    """A run that began under the release before and was trained to its end under this one."""

    run: Run
    before: list[Body]
    """Its pods, before the upgrade."""
    after: list[Body]
    """Its pods, some steps after it."""
    planned: list[Body]
    """What the new operator would have created."""
    steps: tuple[int, int]
    """The steps shown right before the upgrade, and when the new operator had first told of progress."""
    status: Body
    """At the end."""
    writes: list[str]
    """Verb and name of every write to its pods since the upgrade began."""
    crds: tuple[Body, Body]
    """The CRDs by name, before and after."""


@pytest.fixture(scope="module")
def upgraded(
    cluster: Cluster, operator: Operator, previous_images: Images, record: Record, gpus: None
) -> Iterator[Upgraded]:
    """Put the release before in the place of this one, start a run, and upgrade while it trains."""
    operator.uninstall()
    namespace = f"upgrade-{secrets.token_hex(3)}"
    cluster.create_namespace(namespace, pod_security="restricted")
    try:
        Operator(cluster, previous_images, chart=previous_tree() / "charts" / "igpo-operator").install()
        manifest = slow("steady", steps=STEPS, workers=ONE_GPU)
        yield _upgrade(operator, Run(cluster, RL, namespace, "steady").apply(manifest))
    finally:
        operator.install()
        cluster.delete_namespace(namespace)


def _upgrade(operator: Operator, run: Run) -> Upgraded:
    cluster = run.cluster
    shown = run.wait_checkpoint(2)["progress"]["step"]
    before, crds, mark = run.pods(), _crds(cluster), cluster.audit.mark()
    assert _image(operator) != operator.images.operator
    operator.install()
    assert _image(operator) == operator.images.operator
    told = _told_by_the_new_operator(operator, run)
    planned, after = planned_pods(run.body()), run.pods()
    assert told < STEPS, f"the run was over before the new operator had looked at it: raise STEPS above {STEPS}"
    status = run.wait_complete()
    pods = {pod["metadata"]["name"] for pod in before}
    return Upgraded(
        run=run,
        before=before,
        after=after,
        planned=planned,
        steps=(shown, told),
        status=status,
        writes=[
            f"{one.verb} {one.resource} {one.name}"
            for one in mark.writes(operator.account, run.namespace)
            if one.resource.startswith("pods") or one.name in pods
        ],
        crds=(crds, _crds(cluster)),
    )


def _told_by_the_new_operator(operator: Operator, run: Run) -> int:
    """Wait until the operator that runs now has written progress; the step that it wrote."""
    mark = run.cluster.audit.mark()
    shown = run.status()["progress"]["step"]

    def look() -> int | None:
        writes = mark.writes(operator.account, run.namespace)
        step = int(run.status()["progress"]["step"])
        return step if any(one.name == run.name for one in writes) and step > shown else None

    return until(look, "the new operator to tell of progress", within=120, every=0.5)


def _image(operator: Operator) -> str:
    return str(operator.pod()["spec"]["containers"][0]["image"])


def _crds(cluster: Cluster) -> Body:
    return {crd["metadata"]["name"]: crd for crd in cluster.items("crds") if crd["spec"]["group"] == "igpo.dev"}


def test_a_gang_trains_on_through_an_upgrade_from_the_release_before(upgraded: Upgraded, record: Record) -> None:
    identity = [(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in upgraded.before]
    assert len(identity) == 2
    assert [(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in upgraded.after] == identity
    assert [(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in upgraded.run.pods()] == identity
    assert upgraded.writes == [], "nobody touched its pods"
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in upgraded.after)

    status = upgraded.status
    assert (status["attempt"]["number"], status["restarts"].get("total", 0)) == (1, 0)
    assert status["progress"]["step"] == STEPS
    assert 2 <= upgraded.steps[0] < upgraded.steps[1] < STEPS
    assert not record.errors, "nothing but the new CRDs broke the watch"
    versions = record.of(upgraded.run.body()["metadata"]["uid"])
    counter = [one["status"]["progress"]["step"] for one in versions if (one.get("status") or {}).get("progress")]
    assert counter == sorted(counter), "the counter never went back"
    trained = [one.step for one in read_metrics(run_folder(upgraded.run)) if isinstance(one, StepRecord)]
    assert trained == list(range(1, STEPS + 1)), "no step was trained twice"


def test_the_new_operator_would_have_rendered_other_pods_and_does_for_the_next_run(
    upgraded: Upgraded, cluster: Cluster
) -> None:
    lacking = [missing(planned, live) for planned, live in zip(upgraded.planned, upgraded.before, strict=True)]
    assert all(lacking), "both releases render the same pods: the upgrade tries nothing; see previous_tree"
    assert any(path.startswith(".spec.containers[0].env") for path in lacking[0]), "a pod cannot be given these later"

    run = Run(cluster, SFT, upgraded.run.namespace, "next")
    run.apply(tiny(SFT, "next", workers={**ONE_GPU, "replicas": 1}))
    run.wait_complete()
    assert [missing(planned, live) for planned, live in zip(planned_pods(run.body()), run.pods(), strict=True)] == [[]]


def test_the_upgrade_brings_the_new_crds_to_the_objects_that_are_there(upgraded: Upgraded) -> None:
    before, after = upgraded.crds
    assert before.keys() == after.keys() == {"igpotrainings.igpo.dev", "lengthalignedsfts.igpo.dev"}
    for name, crd in before.items():
        assert after[name]["metadata"]["uid"] == crd["metadata"]["uid"]
        assert after[name]["spec"] != crd["spec"]
        assert after[name]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    schema = after["lengthalignedsfts.igpo.dev"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    assert "rewriting" in schema["status"]["properties"]


def test_uninstalling_leaves_the_crds_and_volumes_and_nothing_else(
    upgraded: Upgraded, cluster: Cluster, operator: Operator
) -> None:
    run = upgraded.run
    folder = run_folder(run)
    operator.uninstall()
    assert run.exists(), "runs stay, with the CRDs"
    cluster.kubectl("delete", "igpo,lasft", "--all", "-n", run.namespace, "--timeout=60s")
    claims = {("PersistentVolumeClaim", f"{one}") for one in ("steady-igpo", "next-lasft")}
    until(lambda: inventory(cluster, run.namespace) == claims, "the runs' children to be gone", every=0.5)
    until(lambda: not inventory(cluster, NAMESPACE), "the release to be gone from its namespace", every=0.5)
    assert {kind for kind, _ in of_releases(cluster)} == {"CustomResourceDefinition"}
    assert (folder / "final" / "model.safetensors").is_file()
