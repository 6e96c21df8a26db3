"""The certificates of one cluster: one authority, one key pair per party, gone with the cluster."""

import base64
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from igpo_cluster.errors import ClusterError

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")


@dataclass(frozen=True)
class KeyPair:
    """Paths of a certificate and its key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """The cluster's certificate authority; its files are in `folder`."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        """Make the authority and the key that signs service-account tokens."""
        folder.mkdir()
        authority = cls(folder)
        pair = authority.pair
        _openssl("req", "-x509", *_KEY, "-subj", "/CN=igpo-cluster", "-keyout", pair.key, "-out", pair.certificate)
        _openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", authority.token_key)
        return authority

    @property
    def pair(self) -> KeyPair:
        """The authority's own certificate and key."""
        return KeyPair(self.folder / "ca.crt", self.folder / "ca.key")

    @property
    def token_key(self) -> Path:
        """The private key of service-account tokens."""
        return self.folder / "tokens.key"

    def server(self, name: str, hosts: Sequence[str]) -> KeyPair:
        """A serving certificate for `hosts`, names or IPv4 addresses."""
        kinds = ("IP" if host.replace(".", "").isdigit() else "DNS" for host in hosts)
        names = ",".join(f"{kind}:{host}" for kind, host in zip(kinds, hosts, strict=True))
        return self._issue(name, f"/CN={name}", "serverAuth", "-addext", f"subjectAltName={names}")

    def client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: the apiserver takes the user from CN and the groups from O."""
        names = [("O", group) for group in groups] + [("CN", user)]
        subject = "".join(f"/{kind}=" + name.replace("/", r"\/") for kind, name in names)
        return self._issue(user.replace(":", "-").replace("/", "-"), subject, "clientAuth")

    def kubeconfig(self, path: Path, server: str, user: str, groups: Sequence[str] = ()) -> Path:
        """Write a self-contained kubeconfig of `user` to `path` and return it."""
        pair = self.client(user, groups)
        credentials = {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "igpo",
            "clusters": [
                {
                    "name": "igpo",
                    "cluster": {"server": server, "certificate-authority-data": _base64(self.pair.certificate)},
                }
            ],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "igpo", "context": {"cluster": "igpo", "user": user}}],
        }
        path.write_text(json.dumps(content, indent=1))
        path.chmod(0o600)
        return path

    def _issue(self, name: str, subject: str, usage: str, *more: str) -> KeyPair:
        pair = KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        signer = ("-CA", self.pair.certificate, "-CAkey", self.pair.key)
        use = ("-addext", f"extendedKeyUsage={usage}", "-addext", "basicConstraints=critical,CA:FALSE")
        files = ("-keyout", pair.key, "-out", pair.certificate)
        _openssl("req", "-x509", *_KEY, *signer, "-subj", subject, *use, *more, *files)
        return pair


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"openssl {arguments[0]} failed, version 3 or newer is needed: {done.stderr.strip()[-300:]}")
