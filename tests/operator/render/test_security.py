import pytest

from igpo_operator.api.security import PodSecurityContext, SecurityContext
from igpo_operator.render.security import container_security, pod_security


def container(**overrides):
    return container_security(SecurityContext.model_validate(overrides))


def pod(**overrides):
    return pod_security(PodSecurityContext.model_validate(overrides))


def test_without_overrides_the_pod_fits_a_restricted_namespace():
    assert pod_security(None) == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container_security(None) == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_an_override_changes_its_field_and_no_other():
    assert pod(fsGroup=7) == pod_security(None) | {"fsGroup": 7}
    assert container(readOnlyRootFilesystem=False) == container_security(None) | {"readOnlyRootFilesystem": False}


def test_an_added_capability_leaves_the_others_dropped():
    assert container(capabilities={"add": ["IPC_LOCK"]})["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert container(capabilities={"drop": ["NET_RAW"]})["capabilities"] == {"drop": ["NET_RAW"]}


def test_a_profile_is_replaced_whole():
    ours = pod(seccompProfile={"type": "Localhost", "localhostProfile": "trainer.json"})
    assert ours["seccompProfile"] == {"type": "Localhost", "localhostProfile": "trainer.json"}


@pytest.mark.parametrize("context", [pod, container])
def test_user_0_is_let_in_when_the_manifest_asks_for_it(context):
    assert context(runAsUser=0)["runAsNonRoot"] is False


def test_a_privileged_container_says_nothing_of_escalation():
    assert "allowPrivilegeEscalation" not in container(privileged=True)
    assert container(privileged=False)["allowPrivilegeEscalation"] is False
