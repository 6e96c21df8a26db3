"""The teacher of tests/teacher as a pod beside the runs: its code from a ConfigMap, its key from a Secret."""

import json
import secrets
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from igpo_cluster.cluster import Cluster
from igpo_cluster.waiting import until
from igpo_e2e.manifests import ROOT

CODE = ROOT / "tests" / "teacher" / "igpo_teacher"
NAME = "teacher"
PORT = 8000
MODEL = "short"
KEY_FIELD = "token"
_MOUNT = "/code"
_KEY_VARIABLE = "TEACHER_KEY"


@dataclass(frozen=True)
class Counts:
    """What a teacher has been asked."""

    asked: Counter[str]
    """Requests by problem."""
    answered: Counter[str]
    """Whole answers that it sent, by problem."""
    in_flight: int

    @property
    def pending(self) -> set[str]:
        """Problems that were asked about and have no answer yet."""
        return {problem for problem, requests in self.asked.items() if requests > self.answered[problem]}


@dataclass(frozen=True)
class Teacher:
    """The one teacher of a namespace; it asks for a key that nobody else knows."""

    cluster: Cluster
    namespace: str
    key: str = field(default_factory=lambda: f"sk-{secrets.token_hex(16)}")

    @property
    def spec(self) -> dict[str, Any]:
        """`spec.rewrite.teacher` of a run in the same namespace."""
        reference = {"name": NAME, "key": KEY_FIELD}
        return {"baseUrl": f"http://{NAME}:{PORT}/v1", "model": MODEL, "apiKeySecretRef": reference}

    def start(self, image: str, **shares: float) -> None:
        """Create it and wait until it serves; `shares` are of igpo_teacher.faults, as `wrong=0.2`."""
        code = {path.name: path.read_text() for path in sorted(CODE.glob("*.py"))}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "stringData": {KEY_FIELD: self.key}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": code},
            _service(),
            _pod(image, [f"--{share.replace('_', '-')}={value}" for share, value in shares.items()]),
            namespace=self.namespace,
        )
        self.cluster.kubectl("wait", f"pod/{NAME}", "-n", self.namespace, "--for=condition=Ready", "--timeout=120s")

    def counts(self) -> Counts:
        """What it has been asked so far."""
        return self._control("GET", "counts")

    def hold(self, after: int) -> None:
        """Answer so many requests from now on, and let the others wait until `release`."""
        self._control("POST", f"hold?after={after}")

    def release(self) -> None:
        """Answer those that wait, and all that follow."""
        self._control("POST", "release")

    def wait_held(self, answered: int, waiting: int, within: float = 240.0) -> Counts:
        """Look until it has answered so many requests of all and so many more wait for `release`; the counts then."""

        def look() -> Counts | None:
            counts = self.counts()
            return counts if (counts.answered.total(), counts.in_flight) == (answered, waiting) else None

        return until(look, f"{waiting} requests that wait at the teacher", within, every=0.2)

    def _control(self, method: str, what: str) -> Counts:
        address = self.cluster.get("pod", NAME, "-n", self.namespace)["status"]["podIP"]
        request = urllib.request.Request(f"http://{address}:{PORT}/control/{what}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = json.load(answer)
        return Counts(Counter(said["asked"]), Counter(said["answered"]), said["inFlight"])


def _service() -> dict[str, Any]:
    spec = {"selector": {"app": NAME}, "ports": [{"port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": spec}


def _pod(image: str, faults: list[str]) -> dict[str, Any]:
    """A pod that fits a restricted namespace: the trainer's image has the Python that the code needs."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    reference = {"secretKeyRef": {"name": NAME, "key": KEY_FIELD}}
    options = ["--address=0.0.0.0", f"--port={PORT}", f"--model={MODEL}", f"--key-variable={_KEY_VARIABLE}"]
    container = {
        "name": NAME,
        "image": image,
        "command": ["python3", "-m", "igpo_teacher", *options, *faults],
        "env": [{"name": "PYTHONPATH", "value": _MOUNT}, {"name": _KEY_VARIABLE, "valueFrom": reference}],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": security,
        "volumeMounts": [{"name": "code", "mountPath": f"{_MOUNT}/igpo_teacher", "readOnly": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,  # it does not listen to SIGTERM
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "code", "configMap": {"name": NAME}}],
        },
    }
