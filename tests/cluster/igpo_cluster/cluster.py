"""A running cluster, as tests and people use it."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from igpo_cluster import programs
from igpo_cluster.audit import AuditLog
from igpo_cluster.certificates import Authority
from igpo_cluster.errors import ClusterError
from igpo_cluster.processes import log_of
from igpo_cluster.progress import timed
from igpo_cluster.waiting import until

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


@dataclass(frozen=True)
class Cluster:
    """What is in the folder of a cluster that is up. Any process of the same user may have one of these."""

    folder: Path

    @classmethod
    def of_user(cls, folder: Path) -> "Cluster":
        """The cluster that the user's KUBECONFIG points to; `folder` gets a copy of the credentials.

        Raises:
            ClusterError: kubectl knows no cluster.
        """
        words = [str(programs.locate("kubectl")), "config", "view", "--raw", "--flatten", "--minify", "-o", "json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"KUBECONFIG names no cluster: {done.stderr.strip()}")
        cluster = cls(folder)
        cluster.kubeconfig.write_text(done.stdout)
        cluster.kubeconfig.chmod(0o600)
        return cluster

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the administrator."""
        return self.folder / "admin.kubeconfig"

    @property
    def server(self) -> str:
        """The apiserver's URL."""
        content = json.loads(self.kubeconfig.read_text())
        return str(content["clusters"][0]["cluster"]["server"])

    @property
    def audit(self) -> AuditLog:
        """The whole audit log; take a `mark()` to count from now on."""
        return AuditLog(self.folder / "audit.log")

    @cached_property
    def api(self) -> "ApiClient":
        """A client of the administrator. Close it if you made this object yourself; `ControlPlane` closes its own."""
        from kubernetes import config  # a second to import, and kubectl does without

        api: ApiClient = config.new_client_from_config(str(self.kubeconfig))  # type: ignore[no-untyped-call]
        return api

    def log(self, program: str) -> Path:
        """The log of one of the cluster's processes."""
        return log_of(self.folder, program)

    def user(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of `user` in `groups`, to try RBAC. Requests of the group igpo.dev/audited are all logged."""
        path = self.folder / f"{user.replace(':', '-').replace('/', '-')}.kubeconfig"
        return Authority(self.folder / "certificates").kubeconfig(path, self.server, user, groups)

    def kubectl(self, *arguments: str | Path, stdin: str | dict[str, Any] | None = None, timeout: float = 120) -> str:
        """Run kubectl as the administrator; `stdin` may be an object for `-f -`. Returns stdout.

        Raises:
            ClusterError: kubectl fails; the message is its stderr.
        """
        words = [str(programs.locate("kubectl")), f"--kubeconfig={self.kubeconfig}", *map(str, arguments)]
        text = json.dumps(stdin) if isinstance(stdin, dict) else stdin
        done = subprocess.run(words, input=text or "", capture_output=True, text=True, check=False, timeout=timeout)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get … -o json`, parsed."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return answer

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a `kubectl get` of many."""
        answer: list[dict[str, Any]] = self.get(*arguments)["items"]
        return answer

    def apply(self, *objects: dict[str, Any], namespace: str = "") -> None:
        """Server-side apply of `objects`, in `namespace` where they name none."""
        scope = [f"--namespace={namespace}"] if namespace else []
        together = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--force-conflicts", *scope, "-f", "-", stdin=together)

    def apply_crds(self, folder: Path) -> None:
        """Apply every CustomResourceDefinition in `folder` and wait until the apiserver serves them."""
        with timed(f"apply the CRDs of {folder}"):
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", folder)
            # kubectl wait fails on a CRD that has no conditions yet.
            until(lambda: all(map(_established, self._read(folder))), f"the apiserver to serve the CRDs of {folder}")
            # Established comes before discovery, by which kubectl finds a kind.
            until(lambda: all(map(self._discovered, self._read(folder))), f"kubectl to find the CRDs of {folder}")

    def _discovered(self, crd: dict[str, Any]) -> bool:
        group = crd["spec"]["group"]
        names = self.kubectl("api-resources", f"--api-group={group}", "--no-headers", "-o", "name", "--cached=false")
        return f"{crd['spec']['names']['plural']}.{group}" in names.split()

    def _read(self, folder: Path) -> list[dict[str, Any]]:
        answer: dict[str, Any] = json.loads(self.kubectl("get", "-f", folder, "-o", "json"))
        return list(answer.get("items", [answer]))

    def create_namespace(self, name: str, pod_security: str = "") -> None:
        """A namespace, with Pod Security enforced at `pod_security` (`restricted`, `baseline`) if named."""
        labels = {"pod-security.kubernetes.io/enforce": pod_security} if pod_security else {}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s")

    def delete_namespace(self, name: str) -> None:
        """Start the end of a namespace: its pods go at once, without their grace, the rest in the background."""
        self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        self.kubectl(
            "delete", "pods", "--all", f"--namespace={name}", "--force", "--grace-period=0", "--wait=false",
            "--ignore-not-found",
        )  # fmt: skip

    def close(self) -> None:
        """Close the client's connections."""
        if "api" in self.__dict__:
            self.api.close()  # type: ignore[no-untyped-call]


def _established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
