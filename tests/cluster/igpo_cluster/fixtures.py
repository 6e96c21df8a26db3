"""The pytest plug-in: one control plane per session, shared by the workers of xdist, and a namespace per test;
for tests that need a node, one whole cluster and its images."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from igpo_cluster.cache import locked
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options, locate_programs
from igpo_cluster.errors import ClusterError
from igpo_cluster.full import FullCluster, locate_node_programs
from igpo_cluster.images import Images
from igpo_cluster.workspace import Workspace

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


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A control plane with kwok and no nodes, started once for all workers; tests keep to their own namespaces."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    with _shared(shared / "control-plane", lambda: ControlPlane(_OPTIONS)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def queued_control_plane() -> Iterator[Cluster]:
    """A control plane with kwok and Kueue, one per worker: whether Kueue is there changes how every pod starts."""
    with ControlPlane(_QUEUED) as cluster:
        yield cluster


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """The name of a fresh namespace with Pod Security `restricted`, deleted after the test."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.create_namespace(name, pod_security="restricted")
    yield name
    control_plane.delete_namespace(name)


@pytest.fixture(scope="session")
def full() -> Iterator[FullCluster]:
    """The harness of a cluster with a node, started once; needs root, and the tests in one process."""
    harness = FullCluster(Options(name="e2e", kwok=True))
    with harness:
        yield harness


@pytest.fixture(scope="session")
def cluster(full: FullCluster) -> Cluster:
    """The cluster with a node."""
    if full.cluster is None:
        raise ClusterError("the cluster is not up")
    return full.cluster


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> Images:
    """The images of this working tree, given to the node."""
    return Images.load(cluster)


@contextmanager
def _shared(note: Path, make: Callable[[], ControlPlane]) -> Iterator[Cluster]:
    """The cluster that the file `note` names; the first to come starts it, the last to leave ends it."""
    with locked(note.with_suffix(".lock")):
        folder = Path(note.read_text()) if note.exists() else None
        if folder and folder.exists() and not Workspace(folder).abandoned:
            Workspace(folder).join()
            cluster = Cluster(folder)
        else:
            cluster = make().__enter__()
            note.write_text(str(cluster.folder))
    try:
        yield cluster
    finally:
        cluster.close()
        with locked(note.with_suffix(".lock")):
            Workspace(cluster.folder).leave()
