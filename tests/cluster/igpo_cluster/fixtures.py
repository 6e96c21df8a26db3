"""The pytest plug-in: one control plane per session, shared by the workers of xdist, and a namespace per test;
for tests that need a node, one whole cluster and its images."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from igpo_cluster import workspace
from igpo_cluster.cache import locked
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options, locate_programs
from igpo_cluster.errors import ClusterError
from igpo_cluster.full import FullCluster, locate_node_programs
from igpo_cluster.history import previous_tree
from igpo_cluster.images import Images, load
from igpo_cluster.workspace import Workspace

STANDING = "IGPO_E2E_CLUSTER"
"""Variable with the name of a cluster that is up (`dev` is that of `make cluster`), for quick turns at a desk."""
OF_USER = "IGPO_E2E_USE_KUBECONFIG"
"""With 1, the cluster is what KUBECONFIG says, and pulls IGPO_E2E_{OPERATOR,TRAINER}_IMAGE (and PREVIOUS_OPERATOR)."""
_OPTIONS = Options(name="tests", kwok=True)
_QUEUED = Options(name="queued", kwok=True, kueue=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the collected tests need before the time limit of the first of them runs."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if wanted & {"control_plane", "full"}:
        locate_programs(_OPTIONS)
    if "queued_control_plane" in wanted:
        locate_programs(_QUEUED)
    if "full" in wanted:
        locate_node_programs()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first of the tests that need Kueue the time to start it on a busy machine."""
    for item in items:
        if "queued_control_plane" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A control plane with kwok and no nodes, started once for all workers; tests keep to their own namespaces."""
    with _shared(tmp_path_factory, request, _OPTIONS) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def queued_control_plane(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Another one with Kueue, whose webhooks see every pod. Names of queues and nodes are shared by all workers."""
    with _shared(tmp_path_factory, request, _QUEUED) as cluster:
        yield cluster


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """The name of a fresh namespace with Pod Security `restricted`, deleted after the test."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.create_namespace(name, pod_security="restricted")
    yield name
    control_plane.delete_namespace(name)


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullCluster]:
    """The harness of a cluster with a node: a new one, or one that is up already (`STANDING`, `OF_USER`).

    Needs root unless the cluster is the user's, and the tests in one process.
    """
    harness = FullCluster(Options(name="e2e", kwok=True))
    standing = os.environ.get(STANDING)
    if os.environ.get(OF_USER) == "1":
        harness.cluster = Cluster.of_user(tmp_path_factory.mktemp("cluster"))
    elif standing:
        harness.workspace = workspace.find(standing)
        harness.cluster = Cluster(harness.workspace.folder)
    else:
        with harness:
            yield harness
        return
    yield harness
    harness.cluster.close()


@pytest.fixture(scope="session")
def cluster(full: FullCluster) -> Cluster:
    """The cluster with a node."""
    if full.cluster is None:
        raise ClusterError("the cluster has been left already")
    return full.cluster


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> Images:
    """The images of this working tree, given to the node; of a user's cluster those that the environment names."""
    if os.environ.get(OF_USER) == "1":
        return Images(*(os.environ[f"IGPO_E2E_{name}_IMAGE"] for name in ("OPERATOR", "TRAINER")))
    return Images.load(cluster)


@pytest.fixture(scope="session")
def previous_images(cluster: Cluster, images: Images) -> Images:
    """The operator of the release before, and this tree's trainer: runs keep the image that they began with anyway."""
    if os.environ.get(OF_USER) == "1":
        return Images(os.environ["IGPO_E2E_PREVIOUS_OPERATOR_IMAGE"], images.trainer)
    return Images(load(cluster, "operator", previous_tree()), images.trainer)


@contextmanager
def _shared(factory: pytest.TempPathFactory, request: pytest.FixtureRequest, options: Options) -> Iterator[Cluster]:
    """One cluster for all workers of a session; the first to come starts it, the last to leave ends it."""
    base = factory.getbasetemp()
    note = (base.parent if hasattr(request.config, "workerinput") else base) / options.name
    with locked(note.with_suffix(".lock")):
        folder = Path(note.read_text()) if note.exists() else None
        if folder and folder.exists() and not Workspace(folder).abandoned:
            Workspace(folder).join()
            cluster = Cluster(folder)
        else:
            cluster = ControlPlane(options).__enter__()
            note.write_text(str(cluster.folder))
    try:
        yield cluster
    finally:
        cluster.close()
        with locked(note.with_suffix(".lock")):
            Workspace(cluster.folder).leave()
