"""Security contexts: what a namespace of the restricted Pod Security level asks for, and the manifest's overrides."""

from typing import Any, Final

from igpo_operator.api.security import PodSecurityContext, SecurityContext

USER: Final = 65532
"""User and group id of the pods, as in the operator's images."""


def pod_security(overrides: PodSecurityContext | None) -> dict[str, Any]:
    """SecurityContext of a pod."""
    ours = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return _merged(ours, overrides)


def container_security(overrides: SecurityContext | None) -> dict[str, Any]:
    """SecurityContext of container trainer."""
    ours: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    if overrides is not None and overrides.privileged:
        del ours["allowPrivilegeEscalation"]  # the API server refuses the two together
    return _merged(ours, overrides)


def _merged(ours: dict[str, Any], overrides: PodSecurityContext | SecurityContext | None) -> dict[str, Any]:
    if overrides is None:
        return ours
    theirs = overrides.model_dump(mode="json", by_alias=True, exclude_none=True)
    if overrides.run_as_user == 0 and overrides.run_as_non_root is None:
        theirs["runAsNonRoot"] = False  # else the kubelet would never start what the manifest asks for
    merged = ours | theirs
    if "capabilities" in theirs:
        merged["capabilities"] = ours.get("capabilities", {}) | theirs["capabilities"]
    return merged
