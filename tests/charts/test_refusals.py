"""What helm refuses to install, and that each refusal says what to set."""

from typing import Any

import pytest

from chartworld.helm import CRDS_CHART, refusal, rendered

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm

DIGEST = "sha256:" + "0123456789abcdef" * 4

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"imagee": {"tag": "1"}}, "at '': additional properties 'imagee' not allowed"),
    "an unknown value in a map": ({"rbac": {"readNode": True}}, "at '/rbac': additional properties 'readNode' not"),
    "a value of the former chart": (
        {"crds": {"install": True}},
        "crds.install is called crds.enabled now; remove it from your values, and upgrade with --values or "
        "--reset-then-reuse-values",
    ),
    "an unknown setting": (
        {"config": {"logLevl": "DEBUG"}},
        "at '/config': additional properties 'logLevl' not allowed",
    ),
    "a setting out of bounds": ({"config": {"workers": 0}}, "at '/config/workers': minimum: got 0, want 1"),
    "a wrong type": ({"rbac": {"create": "yes"}}, "at '/rbac/create': got string, want boolean"),
    "a scope that is none": ({"scope": "Namespace"}, "at '/scope': value must be one of 'Cluster', 'Namespaced'"),
    "namespaced without namespaces": (
        {"scope": "Namespaced"},
        "scope is Namespaced, but watchNamespaces is empty; set watchNamespaces to the namespaces to work in, "
        "e.g. --set watchNamespaces={team-a}, or scope to Cluster for all of them",
    ),
    "namespaces without namespaced": (
        {"watchNamespaces": ["team-a", "team-b"]},
        "watchNamespaces names team-a, team-b, but scope is Cluster, which means all namespaces; "
        "set scope to Namespaced, or leave watchNamespaces empty",
    ),
    "CRDs of a namespaced release": (
        {"scope": "Namespaced", "watchNamespaces": ["team-a"]},
        "CRDs belong to the whole cluster, and scope is Namespaced; set crds.enabled to false and install the chart "
        "igpo-crds once for all (with --take-ownership if a release of igpo-operator has made them), or set "
        "crds.allowNamespaced to true in the one release that shall own them",
    ),
    "a digest without its algorithm": (
        {"image": {"digest": DIGEST.removeprefix("sha256:")}},
        'image.digest "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" is no digest; '
        "set it to sha256: and 64 hexadecimal digits",
    ),
    "a digest that is cut": (
        {"trainerImage": {"digest": DIGEST[:-1]}},
        f'trainerImage.digest "{DIGEST[:-1]}" is no digest; set it to sha256: and 64 hexadecimal digits, '
        "as `docker images --digests` shows them, or leave it empty to use trainerImage.tag",
    ),
    "an account that nobody makes": (
        {"serviceAccount": {"create": False}},
        "serviceAccount.create is false; set serviceAccount.name to the service account that the operator shall use",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_release_is_refused_by_a_sentence_that_says_what_to_set(case: str) -> None:
    values, message = REFUSED[case]
    assert message in refusal(values)


def test_a_kubernetes_that_is_too_old_is_named_with_the_way_out() -> None:
    message = refusal({}, kubernetes="1.29.15")
    assert "Kubernetes v1.29.15 is too old: igpo-operator 0.1.0 needs 1.30 or newer; upgrade the cluster, or" in message
    assert "--kube-version" in message
    assert rendered(kubernetes="v1.30.0-eks-036c24b")


def test_the_chart_of_the_crds_refuses_a_typo() -> None:
    assert "at '': additional properties 'keap' not allowed" in refusal({"keap": False}, chart=CRDS_CHART)
