import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from igpo_cluster import kwok
from igpo_cluster.cluster import Cluster
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team

CRDS = Path(__file__).parents[3] / "crds"


@pytest.fixture(scope="session")
def served(control_plane: Cluster) -> Cluster:
    control_plane.apply_crds(CRDS)
    return control_plane


@pytest.fixture
def team(served: Cluster, namespace: str) -> Iterator[Team]:
    team = Team(served, namespace)
    team.add_volumes(2)
    yield team
    team.remove_volumes()


@pytest.fixture
def node(served: Cluster, namespace: str) -> Iterator[str]:
    """A node with 3 GPUs that only pods of this namespace's runs ask for."""
    name = f"{namespace}-node"
    kwok.add_nodes(served, name, gpus=3)
    yield name
    kwok.remove_nodes(served, name)


@pytest.fixture
def operators(tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Makes operators and sees to their end."""
    made: list[OperatorProcess] = []

    def make(kubeconfig: Path, **settings: str) -> OperatorProcess:
        made.append(OperatorProcess(kubeconfig, tmp_path / f"operator-{len(made)}.log", **settings))
        return made[-1]

    yield make
    for operator in made:
        operator.kill()
        sys.stdout.write(f"--- the operator's log ---\n{operator.log}")


@pytest.fixture
def operator(team: Team, operators: Callable[..., OperatorProcess]) -> OperatorProcess:
    """An operator for the test's own namespace, running."""
    return operators(team.cluster.kubeconfig, namespaces=team.namespace).start()
