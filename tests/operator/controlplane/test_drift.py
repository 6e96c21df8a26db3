"""Git against the cluster after the operator's writes, as Argo CD (in each of its three ways) and Flux compare."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chartworld.helm import CHART, ROOT, Body, documents, read, rendered
from igpo_cluster.cluster import Cluster
from igpo_e2e.judges import argo_compares
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the judges

ARGO, FLUX = "argocd-controller", "kustomize-controller"
FOLDERS = ("start", "base", "overlays/eta-20")
MODES = {"three-way": "", "structured-merge": "StructuredMerge", "server-side": "ServerSide"}
"""Argo CD's ways to compare."""
OURS_TO_COMPARE = ("labels", "annotations")


@pytest.fixture(scope="module")
def openapi(control_plane: Cluster) -> Callable[[], Body]:
    """What the API server says about every kind, once the CRDs are in it; without paths, which take long to read."""
    return lambda: json.loads(control_plane.kubectl("get", "--raw", "/openapi/v2")) | {"paths": {}}


def _git(cluster: Cluster, namespace: str) -> list[Body]:
    """The runs of the example, as kustomize builds them."""
    texts = [cluster.kubectl("kustomize", ROOT / "examples" / "gitops" / "experiments" / folder) for folder in FOLDERS]
    runs = [run for text in texts for run in documents(text)]
    for run in runs:
        run["metadata"]["namespace"] = namespace
        run["spec"]["storage"] = {"size": "1Gi"}  # what the tests' volumes hold
    return runs


def _apply(cluster: Cluster, manager: str, *objects: Body, dry: bool = False) -> list[Body]:
    """A server-side apply by `manager`; what is stored, or would be."""
    words = ("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "--show-managed-fields")
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    answer = json.loads(cluster.kubectl(*words, *(["--dry-run=server"] * dry), "-o", "json", "-f", "-", stdin=listed))
    return list(answer.get("items", [answer]))


def _live(cluster: Cluster, item: Body) -> Body:
    where = ["-n", item["metadata"]["namespace"]] if "namespace" in item["metadata"] else []
    kind = f"{item['kind']}.{item['apiVersion'].split('/')[0]}" if "/" in item["apiVersion"] else item["kind"]
    return cluster.get(kind, item["metadata"]["name"], *where, "--show-managed-fields")


def _flux_sees(live: Body, predicted: Body) -> Body:
    """What Flux compares: labels, annotations, and all that is neither metadata nor status."""
    sides: list[dict[str, Any]] = []
    for item in (live, predicted):
        rest = {key: value for key, value in item.items() if key not in {"metadata", "status"}}
        sides.append(rest | {key: item["metadata"].get(key) for key in OURS_TO_COMPARE})
    return {key: (sides[0].get(key), sides[1].get(key)) for key in sides[0] if sides[0].get(key) != sides[1].get(key)}


def _drift(cluster: Cluster, git: list[Body], openapi: Body) -> dict[str, Body]:
    """Every verdict on an object that is not "unmodified", by object and who gives it."""
    pairs: list[Body] = []
    found: dict[str, Body] = {_name(item): {} for item in git}
    for item in git:
        (by_argo,), (by_flux,) = (_apply(cluster, manager, item, dry=True) for manager in (ARGO, FLUX))
        live = _live(cluster, item)
        pair = {"git": item, "live": live, "predicted": by_argo}
        pairs += [pair | {"mode": mode} for mode in MODES.values()]
        if different := _flux_sees(live, by_flux):
            found[_name(item)]["flux"] = different
    verdicts = iter(argo_compares(pairs, openapi))
    for item in git:
        for name in MODES:
            verdict = next(verdicts)
            if verdict["modified"]:
                found[_name(item)][name] = verdict["diff"]
    return found


def _name(item: Body) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def test_runs_do_not_drift_from_git_while_they_wait_and_train(
    team: Team, node: str, operator: OperatorProcess, openapi: Callable[[], Body]
) -> None:
    cluster, git = team.cluster, _git(team.cluster, team.namespace)
    cluster.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": git})
    _apply(cluster, ARGO, *git)
    team.wait_for_phase("word-problems-base", "Running", within=120)
    team.wait_for_phase("word-problems", "Waiting")
    assert _drift(cluster, git, openapi()) == {
        "LengthAlignedSFT/word-problems": {},
        "LengthAlignedSFT/word-problems-base": {},
        "IGPOTraining/word-problems": {},
        "IGPOTraining/word-problems-eta-20": {},
    }


def test_a_field_that_differs_from_git_is_seen_by_all_of_them(team: Team, openapi: Callable[[], Body]) -> None:
    git = next(run for run in _git(team.cluster, team.namespace) if run["kind"] == "IGPOTraining")
    team.cluster.kubectl("apply", "-f", "-", stdin=git)
    _apply(team.cluster, ARGO, git)
    edited = git | {"spec": git["spec"] | {"suspend": True}}
    assert _drift(team.cluster, [edited], openapi())[_name(edited)].keys() == {*MODES, "flux"}


@pytest.mark.parametrize("case", ["default", "everything"])
def test_what_the_chart_installs_does_not_drift(
    case: str, served: Cluster, namespace: str, openapi: Callable[[], Body]
) -> None:
    objects = rendered(read(CHART / "ci" / f"{case}-values.yaml"), release=namespace, namespace=namespace)
    git = [item for item in objects if "helm.sh/hook" not in item["metadata"].get("annotations", {})]
    for item in git:
        if item["kind"] == "ConfigMap":
            item["metadata"]["namespace"] = namespace
    _apply(served, ARGO, *git)
    try:
        assert {name: drift for name, drift in _drift(served, git, openapi()).items() if drift} == {}
    finally:
        for item in git:
            if item["kind"].startswith("ClusterRole"):
                served.kubectl("delete", item["kind"], item["metadata"]["name"])
