"""examples/gitops: every folder builds, every run in it is accepted, and the chart has the values that are set.

Applies, on trial, what docs/gitops.md tells people to apply.
"""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from chartworld.helm import ROOT, every, rendered
from igpo_cluster.cluster import Cluster
from igpo_trainer.spec.manifest import load_manifest

GITOPS = ROOT / "examples" / "gitops"
Body = dict[str, Any]

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm


@pytest.fixture(scope="module")
def experiments(control_plane: Cluster) -> list[Body]:
    return _documents(control_plane.kubectl("kustomize", GITOPS / "experiments"))


def _documents(text: str) -> list[Body]:
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]


def _manifests(folder: str, pattern: str) -> list[Body]:
    paths = sorted((GITOPS / folder).glob(pattern))
    return [document for path in paths for document in _documents(path.read_text(encoding="utf-8"))]


def test_the_experiments_are_one_start_one_base_run_and_a_sweep_of_three_ratios(experiments: list[Body]) -> None:
    assert {run["metadata"]["name"] for run in every(experiments, "LengthAlignedSFT")} == {
        "word-problems-base",
        "word-problems",
    }
    runs = {run["metadata"]["name"]: run["spec"] for run in every(experiments, "IGPOTraining")}
    ratios = {name: tuple(spec["hints"]["injectionRatio"].values()) for name, spec in runs.items()}
    assert ratios == {
        "word-problems": (0.6, 0.2),
        "word-problems-eta-20": (0.2, 0.2),
        "word-problems-eta-40": (0.4, 0.4),
        "word-problems-eta-60": (0.6, 0.6),
    }
    base = runs["word-problems"]
    for spec in runs.values():
        assert spec["model"]["from"]["name"] == "word-problems"
        assert spec | {"hints": base["hints"]} == base


def test_igpo_validate_accepts_every_run(experiments: list[Body], tmp_path: Path) -> None:
    runs = [document for document in experiments if document["kind"] != "Namespace"]
    path = tmp_path / "experiments.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump_all(runs, file)
    assert len(load_manifest(path)) == len(runs) == 6


def test_the_api_server_accepts_every_run_in_a_restricted_namespace(
    experiments: list[Body], control_plane: Cluster, namespace: str
) -> None:
    control_plane.apply_crds(ROOT / "crds")
    runs = [document for document in experiments if document["kind"] != "Namespace"]
    assert {run["metadata"].pop("namespace") for run in runs} == {"training"}
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-")
    listed = {"apiVersion": "v1", "kind": "List", "items": runs}
    assert control_plane.kubectl(*words, stdin=listed).count("serverside-applied") == 6
    (home,) = every(experiments, "Namespace")
    assert home["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_argo_cd_installs_the_chart_before_the_experiments() -> None:
    wave = "argocd.argoproj.io/sync-wave"
    applications = every(_manifests("argocd", "*.yaml"), "Application")
    operator, runs = sorted(applications, key=lambda one: one["metadata"]["annotations"][wave])
    assert operator["spec"]["source"]["path"] == "charts/igpo-operator"
    assert runs["spec"]["source"]["path"] == "examples/gitops/experiments"
    assert rendered(operator["spec"]["source"]["helm"]["valuesObject"])
    for application in (operator, runs):
        assert (ROOT / application["spec"]["source"]["path"]).is_dir()
        options = set(application["spec"]["syncPolicy"]["syncOptions"])
        assert not options & {"Replace=true", "Force=true"}, "a run that is replaced trains again from nothing"


def test_flux_installs_the_chart_before_the_experiments() -> None:
    documents = _manifests("flux", "**/*.yaml")
    (source,) = every(documents, "GitRepository")
    (release,) = every(documents, "HelmRelease")
    operator, runs = every(documents, "Kustomization")
    assert (ROOT / release["spec"]["chart"]["spec"]["chart"]).is_dir()
    assert rendered(release["spec"]["values"])
    assert release["spec"]["test"]["enable"]
    for kustomization in (operator, runs):
        assert (ROOT / kustomization["spec"]["path"]).is_dir()
        assert kustomization["spec"]["sourceRef"] == {"kind": "GitRepository", "name": source["metadata"]["name"]}
        assert not kustomization["spec"].get("force")
    assert runs["spec"]["dependsOn"] == [{"name": operator["metadata"]["name"]}]
    assert not runs["spec"]["wait"]
