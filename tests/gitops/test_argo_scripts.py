"""Argo CD's scripts for both kinds, run by the interpreter that Argo CD runs them with, on recorded statuses."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from igpo_cluster.cluster import Cluster
from igpo_e2e.judges import argo_runs

ROOT = Path(__file__).parents[2]
CUSTOMIZATIONS = ROOT / "examples" / "gitops" / "argocd" / "resource_customizations"
KINDS = ("IGPOTraining", "LengthAlignedSFT")
STATUSES = ROOT / "tests" / "data" / "status"
Body = dict[str, Any]

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the judges


def _read(path: Path) -> Body:
    found: Body = YAML(typ="safe", pure=True).load(path)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_recorded_status_gets_its_verdict(kind: str) -> None:
    folder = CUSTOMIZATIONS / "igpo.dev" / kind
    tests = _read(folder / "health_test.yaml")["tests"]
    assert {test["inputPath"] for test in tests} == {
        f"testdata/{path.name}" for path in (folder / "testdata").iterdir()
    }
    answers = argo_runs(folder / "health.lua", [_read(folder / test["inputPath"]) for test in tests])
    for test, answer in zip(tests, answers, strict=True):
        assert answer == test["healthStatus"], test["inputPath"]


def test_the_verdicts_cover_every_health_that_a_run_can_have() -> None:
    tests = _read(CUSTOMIZATIONS / "igpo.dev" / "IGPOTraining" / "health_test.yaml")["tests"]
    assert {test["healthStatus"]["status"] for test in tests} == {"Progressing", "Healthy", "Suspended", "Degraded"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_statuses_are_those_that_the_operator_writes(kind: str) -> None:
    for path in (CUSTOMIZATIONS / "igpo.dev" / kind / "testdata").iterdir():
        if path.stem not in {"created", "edited"}:
            assert _read(path)["status"] == _read(STATUSES / path.name), path.name


@pytest.mark.parametrize("kind", KINDS)
def test_an_action_is_offered_when_it_makes_sense_and_changes_one_field(kind: str) -> None:
    folder = CUSTOMIZATIONS / "igpo.dev" / kind / "actions"
    tests = _read(folder / "action_test.yaml")
    for test in tests["discoveryTests"]:
        (answer,) = argo_runs(folder / "discovery.lua", [_read(folder / test["inputPath"])])
        assert answer == {one["name"]: {"disabled": one["disabled"]} for one in test["result"]}, test["inputPath"]
    for test in tests["actionTests"]:
        before, after = (_read(folder / test[key]) for key in ("inputPath", "expectedOutputPath"))
        (answer,) = argo_runs(folder / test["action"] / "action.lua", [before])
        assert answer["spec"] == after["spec"]
        assert before["spec"] | {"suspend": after["spec"]["suspend"]} == after["spec"]


def test_both_kinds_have_the_same_scripts_since_they_have_the_same_conditions() -> None:
    one, other = (CUSTOMIZATIONS / "igpo.dev" / kind for kind in KINDS)
    scripts = sorted(path.relative_to(one) for path in one.rglob("*.lua"))
    assert len(scripts) == 4
    for script in scripts:
        assert (one / script).read_text() == (other / script).read_text()


def test_argocd_cm_gets_the_same_scripts(control_plane: Cluster) -> None:
    (entries,) = YAML(typ="safe", pure=True).load_all(control_plane.kubectl("kustomize", CUSTOMIZATIONS))
    assert entries["metadata"]["name"] == "argocd-cm"
    for kind in KINDS:
        folder = CUSTOMIZATIONS / "igpo.dev" / kind
        assert entries["data"][f"resource.customizations.health.igpo.dev_{kind}"] == (folder / "health.lua").read_text()
        actions = YAML(typ="safe", pure=True).load(entries["data"][f"resource.customizations.actions.igpo.dev_{kind}"])
        assert actions["discovery.lua"] == (folder / "actions" / "discovery.lua").read_text()
        for action in actions["definitions"]:
            assert action["action.lua"] == (folder / "actions" / action["name"] / "action.lua").read_text()
