"""The system's packages that a node and the images need."""

import os
import shutil
import subprocess
from pathlib import Path

from igpo_cluster.errors import ClusterError

_COMMANDS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "sysctl": "procps",
}
_FILES = {"/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring"}
_CNI = "containernetworking-plugins"


def missing() -> list[str]:
    """The Debian packages that are needed and not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    names = {package for command, package in _COMMANDS.items() if not shutil.which(command, path=path)}
    names |= {package for file, package in _FILES.items() if not Path(file).exists()}
    if not any((folder / "bridge").exists() for folder in (Path("/usr/lib/cni"), Path("/opt/cni/bin"))):
        names.add(_CNI)
    return sorted(names)


def require() -> None:
    """Raise if a package is missing.

    Raises:
        ClusterError: with the names.
    """
    names = missing()
    if names:
        raise ClusterError(f"packages are missing: {' '.join(names)}; `python -m igpo_cluster packages` installs them")


def install() -> None:
    """Install what is missing by apt, as root."""
    names = missing()
    if not names:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterError(f"packages are missing: {' '.join(names)}; install them as root, on Debian with apt-get")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "--quiet"], check=True, env=quiet)
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *names]
    subprocess.run(command, check=True, env=quiet)
