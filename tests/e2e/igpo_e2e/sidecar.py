"""A service mesh in small: an admission webhook that gives every pod of a run a second container, which never ends."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from igpo_cluster.certificates import Authority
from igpo_cluster.cluster import Cluster
from igpo_operator.render.names import RUN_LABEL

_NAME = "igpo-e2e-sidecars"


@contextmanager
def injecting_sidecars(cluster: Cluster, image: str, run: str) -> Iterator[None]:
    """While the block lasts, pods of runs called `run` are created with a sidecar of `image` that sleeps for ever."""
    authority = Authority(cluster.folder / "certificates")
    pair = authority.server(_NAME, ["127.0.0.1"])
    server = HTTPServer(("127.0.0.1", 0), _handler(_sidecar(image)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        cluster.apply(_webhook(server.server_port, authority.pair.certificate.read_bytes(), run))
        yield
    finally:
        cluster.kubectl("delete", "mutatingwebhookconfiguration", _NAME, "--ignore-not-found")
        server.shutdown()
        thread.join(10)
        server.server_close()


def _sidecar(image: str) -> dict[str, Any]:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    return {"name": "sidecar", "image": image, "command": ["sleep", "infinity"], "securityContext": security}


def _webhook(port: int, authority: bytes, run: str) -> dict[str, Any]:
    hook = {
        "name": "sidecars.e2e.igpo.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "objectSelector": {"matchLabels": {RUN_LABEL: run}},
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": base64.b64encode(authority).decode()},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": _NAME},
        "webhooks": [hook],
    }


def _handler(sidecar: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    patch = [{"op": "add", "path": "/spec/containers/-", "value": sidecar}]
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": encoded}
            body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet: pytest shows what matters."""

    return Handler
