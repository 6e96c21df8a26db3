"""docs/security.md lists the rights that the chart gives, no more and no fewer."""

import re
from typing import Any

import pytest

from chartworld.helm import every, only, rendered
from docworld.pages import ROOT

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm

PAGE = (ROOT / "docs" / "security.md").read_text()
Right = tuple[str, str, str]


def _listed() -> set[Right]:
    """(group, resource, verb) of every row of the table."""
    table = PAGE.partition("## Rights of the operator")[2].partition("\n## ")[0]
    found: set[Right] = set()
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 4 and "`" in cells[1]:
            group = "" if cells[0] == "core" else cells[0].strip("`")
            found |= {
                (group, name, verb) for name in re.findall(r"`([^`]+)`", cells[1]) for verb in cells[2].split(", ")
            }
    return found


def _given(role: dict[str, Any]) -> set[Right]:
    rules = role["rules"]
    return {(g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}


def _of_operator(values: dict[str, Any], kind: str) -> dict[str, Any]:
    named = [
        role for role in every(rendered(values), kind) if "helm.sh/hook" not in role["metadata"].get("annotations", {})
    ]
    (role,) = [role for role in named if not any("aggregate" in label for label in role["metadata"]["labels"])]
    return role


def test_the_table_is_the_cluster_role_of_the_chart() -> None:
    assert _listed() == _given(_of_operator({}, "ClusterRole"))


def test_an_operator_of_some_namespaces_has_these_rights_there_and_none_on_the_cluster() -> None:
    values = {"scope": "Namespaced", "watchNamespaces": ["team-a"], "crds": {"enabled": False}}
    nodes = {("", "nodes", "get")}
    assert _given(_of_operator(values, "Role")) == _listed() - nodes
    assert every(rendered(values), "ClusterRole") == []


def test_what_the_page_says_of_the_operators_pod_is_so() -> None:
    pod = only(rendered(), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
