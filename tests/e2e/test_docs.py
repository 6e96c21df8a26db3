"""What the pages tell people to type where it takes a cluster or minutes, page by page, as a reader would.

Both ways of running examples/igpo-run.yaml that README.md begins with are among it, by docs/first-run.md.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import igpo_trainer
from docworld import shell
from docworld.pages import shell as shell_blocks
from igpo_cluster.cluster import Cluster
from igpo_cluster.fixtures import OF_USER
from igpo_cluster.images import Images, also_called
from igpo_e2e.manifests import RL
from igpo_e2e.operator import Operator
from igpo_e2e.recorder import Record
from igpo_e2e.run import Run
from igpo_trainer.spec.run import HOLDOUT

SECONDS = 2400
pytestmark = pytest.mark.timeout(SECONDS + 300)

PAGES = shell_blocks("e2e")
INSTALL, FIRST_RUN = "docs/install.md", "docs/first-run.md"
READING = [INSTALL, FIRST_RUN, *sorted(PAGES.keys() - {INSTALL, FIRST_RUN})]
"""The others look at what the first run has left."""
RUN = "word-problems"


@dataclass(frozen=True)
class Reader:
    """Somebody with a checkout, a registry, and a namespace of their own."""

    folder: Path
    variables: dict[str, str]
    words: dict[str, str]
    """What stands for the placeholders of the pages."""

    def follow(self, page: str) -> None:
        """Type every command of a page."""
        for block in PAGES[page]:
            text = block.text
            for placeholder, word in self.words.items():
                text = text.replace(placeholder, word)
            shell.run(replace(block, text=text), self.folder, self.variables, within=SECONDS)


@pytest.fixture(scope="module")
def reader(
    cluster: Cluster, images: Images, record: Record, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    namespace = f"reader-{secrets.token_hex(3)}"
    config = json.loads(cluster.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    registry, names = _registry(images)
    cluster.create_namespace(namespace, pod_security="restricted")
    variables = shell.environment(folder, KUBECONFIG=str(kubeconfig), REGISTRY=registry, OMP_NUM_THREADS="2")
    with also_called(cluster, names) if names else nullcontext():
        yield Reader(shell.checkout(folder), variables, {"NAMESPACE": namespace, "NAME": RUN})
    cluster.delete_namespace(namespace)


@pytest.mark.parametrize("page", READING)
def test_the_commands_of_a_page_run_on_a_cluster(page: str, reader: Reader, operator: Operator) -> None:
    if page != INSTALL:
        reader.follow(page)
        return
    operator.uninstall()
    try:
        reader.follow(page)
    finally:
        operator.install()  # as all other tests know it


def test_the_first_run_has_learnt_on_the_cluster_as_well_as_at_the_desk(reader: Reader, cluster: Cluster) -> None:
    status = Run(cluster, RL, reader.words["NAMESPACE"], RUN).status()
    [desk] = [
        record["accuracy"]
        for line in (reader.folder / f"runs/{RL}/{RUN}/metrics.jsonl").read_text().splitlines()
        if (record := json.loads(line))["event"] == "evaluation" and record["step"] == status["progress"]["step"]
        if record["dataset"] == HOLDOUT and record["temperature"] == 0
    ]
    assert float(status["metrics"]["accuracy"]) == pytest.approx(desk, abs=0.05), "other processors round otherwise"
    assert desk > 0.4
    assert float(status["metrics"]["reward"]) > 0.3
    assert {"allWrongInitial", "allWrongFinal", "entropyHint"} <= set(status["metrics"])


def _registry(images: Images) -> tuple[str, dict[str, str]]:
    """A registry that has both images under their released names, and what the node must call them for that."""
    version = igpo_trainer.__version__
    if os.environ.get(OF_USER) == "1":
        registry, name, tag = images.operator.rpartition("/igpo-operator:")
        assert (name, tag) == ("/igpo-operator:", version), f"the pages install …/igpo-operator:{version}; push it so"
        return registry, {}
    registry = "registry.example/team"
    names = {"operator": images.operator, "trainer": images.trainer}
    return registry, {f"{registry}/igpo-{name}:{version}": reference for name, reference in names.items()}
