"""One cluster, one operator and one record of everything for the whole session."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from igpo_cluster.cluster import Cluster
from igpo_cluster.images import Images
from igpo_e2e import monitoring
from igpo_e2e.manifests import SFT, tiny
from igpo_e2e.operator import Operator
from igpo_e2e.recorder import Record, recording
from igpo_e2e.run import Run
from igpo_operator.api.workers import GPU_RESOURCE

LAST = "test_status.py"
"""Judges everything that the other tests made the operator write."""
SECONDS = 600
"""Longest time of one test, on a machine that does other things as well."""
FIRST = ("test_smoke.py", "test_upgrade.py")
"""The shortest, and one that for a while has another operator work for everybody's runs, while there are none."""
FOLDER = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the smoke test first, then upgrades, and judge the record when it is complete."""
    order = {name: at - len(FIRST) for at, name in enumerate(FIRST)} | {LAST: 1}
    items.sort(key=lambda item: order.get(item.path.name, 0))
    for item in items:
        if item.path.parent == FOLDER:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SECONDS))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build Prometheus and what belongs to it before the time limit of the first test that needs it runs."""
    if any("watched" in getattr(item, "fixturenames", ()) for item in session.items):
        monitoring.locate_programs()


@pytest.fixture(scope="session")
def record(cluster: Cluster, operator: Operator) -> Iterator[Record]:
    """Every version of every run of this session."""
    with recording(cluster) as seen:
        yield seen


@pytest.fixture(scope="session")
def operator(cluster: Cluster, images: Images) -> Operator:
    """The chart, installed once for all namespaces, with quick settings."""
    release = Operator(cluster, images)
    release.install()
    return release


@pytest.fixture
def namespace(cluster: Cluster, record: Record) -> Iterator[str]:
    """A namespace of the test's own that enforces restricted Pod Security."""
    name = f"e2e-{secrets.token_hex(3)}"
    cluster.create_namespace(name, pod_security="restricted")
    yield name
    cluster.delete_namespace(name)


@pytest.fixture(scope="session")
def training(cluster: Cluster, record: Record) -> Iterator[str]:
    """The namespace that most tests share, each with a run of its own name; it enforces restricted Pod Security."""
    name = f"training-{secrets.token_hex(3)}"
    cluster.create_namespace(name, pod_security="restricted")
    yield name
    cluster.delete_namespace(name)


@pytest.fixture(scope="module")
def gpus(cluster: Cluster) -> Iterator[None]:
    """Say that the node has GPUs: a pod then gets as many processes as it asks for, and they train on the CPU."""
    [node] = cluster.items("nodes")
    path = f"/status/capacity/{GPU_RESOURCE.replace('/', '~1')}"
    words = ("patch", "node", node["metadata"]["name"], "--subresource=status", "--type=json")
    cluster.kubectl(*words, "--patch", f'[{{"op": "add", "path": "{path}", "value": "16"}}]')
    yield
    cluster.kubectl(*words, "--patch", f'[{{"op": "remove", "path": "{path}"}}]')


@pytest.fixture(scope="session")
def trained(cluster: Cluster, training: str) -> Run:
    """A finished SFT run that tests may start from."""
    run = Run(cluster, SFT, training, "trained").apply(tiny(SFT, "trained"))
    run.wait_complete()
    return run
