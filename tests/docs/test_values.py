"""Values and fields that the pages show are those of the chart and of the custom resources."""

import shlex
from typing import Any

import pytest
from ruamel.yaml import YAML

from chartworld.helm import CHART, documents, helm, run_helm
from docworld.pages import ROOT, Block, blocks
from igpo_operator.api.kinds import IGPO_TRAINING
from igpo_operator.api.spec import spec_of
from igpo_operator.trial import TINY

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm

YAMLS = [block for block in blocks() if block.info == "yaml"]
VALUES = [block for block in YAMLS if block.text.startswith("# values.yaml")]
FIELDS = [block for block in YAMLS if block.text.startswith("# spec")]
INSTALLS = [
    (block, words)
    for block in blocks()
    if block.is_shell
    for words in block.commands
    if words[:2] == ("helm", "upgrade")
]
APIS = ("monitoring.coreos.com/v1", "grafana.integreatly.org/v1beta1")
KUBERNETES = ("--kube-version", "1.35.4")


def _read(block: Block) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(block.text)
    return found


@pytest.mark.parametrize("block", VALUES, ids=str)
def test_the_chart_has_the_values_that_a_page_sets(block: Block) -> None:
    served = [f"--api-versions={name}" for name in APIS]
    assert documents(helm("template", "igpo", CHART, *KUBERNETES, *served, values=_read(block)))


@pytest.mark.parametrize("block", FIELDS, ids=str)
def test_a_run_has_the_fields_that_a_page_sets(block: Block) -> None:
    given = _read(block)
    spec = TINY | given
    if "model" not in given:
        spec["model"] = TINY["model"]
    workers = given.get("workers", {})
    if workers.get("replicas", 1) > 1:
        assert given["storage"]["accessModes"] == ["ReadWriteMany"]
    assert spec_of(IGPO_TRAINING, spec).cluster.workers.replicas == workers.get("replicas", 1)


@pytest.mark.parametrize(("block", "words"), INSTALLS, ids=lambda part: str(part) if isinstance(part, Block) else "")
def test_what_a_page_installs_renders(block: Block, words: tuple[str, ...]) -> None:
    assert words[2] == "--install", block
    ours = {"--create-namespace", "--take-ownership", "--wait"}
    rest = [word for word in words[3:] if word not in ours]
    rest[1] = str(ROOT / rest[1])
    done = run_helm("template", *KUBERNETES, *(word.replace("$REGISTRY", "registry.example/team") for word in rest))
    assert done.returncode == 0, f"{block}: {shlex.join(words)}: {done.stderr}"


def test_the_pages_show_values_and_fields() -> None:
    assert len(VALUES) >= 3
    assert len(FIELDS) >= 5
    assert len(INSTALLS) >= 5
