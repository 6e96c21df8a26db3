"""Buildah with a store of its own in the user's cache, and with the host's way to package indexes."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from igpo_cluster.cache import cache_folder
from igpo_cluster.errors import ClusterError
from igpo_cluster.machine import run

_ENTER = """
mkdir -p /var/lib/containers /etc/cni
mount --bind "$1" /var/lib/containers
mount -t tmpfs tmpfs /etc/cni
shift
exec "$@"
"""
"""Buildah writes what it knows about blobs, and a lock, to places that no option moves."""
_CERTIFICATES = Path("/etc/ssl/certs")


def buildah(*arguments: str | Path) -> str:
    """Run buildah as root; its mounts end with it, even if it is killed. Returns stdout.

    Raises:
        ClusterError: buildah fails; the message is the end of its output.
    """
    options = [f"--root={store()}", f"--runroot={cache_folder('buildah', 'run')}", "--storage-driver=overlay"]
    enter: list[str | Path] = ["unshare", "--mount", "--", "sh", "-euc", _ENTER, "sh", cache_folder("buildah", "lib")]
    return run([*enter, "buildah", *options, *arguments])


def store() -> Path:
    """Where buildah keeps images."""
    return cache_folder("buildah", "root")


def host_mounts() -> list[str]:
    """Options of `buildah build` that lend the host's certificates and pip settings to RUN; none stays in the image."""
    if not _CERTIFICATES.is_dir():
        raise ClusterError(f"{_CERTIFICATES} does not exist; install ca-certificates")
    settings = _pip_settings()
    config = cache_folder("buildah") / "pip.conf"
    config.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    folders = {path for value in settings.values() for path in value.split() if Path(path).is_absolute()}
    outside = {path for path in folders if Path(path).exists() and not path.startswith(f"{_CERTIFICATES}/")}
    mounts = [(str(_CERTIFICATES), str(_CERTIFICATES)), (str(config), "/etc/pip.conf")]
    return _volumes([*mounts, *((path, path) for path in sorted(outside))])


def _volumes(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [f"--volume={source}:{target}:ro" for source, target in pairs]


def _pip_settings() -> dict[str, str]:
    """What pip on the host is told by files and environment; the environment wins."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    found: dict[str, dict[str, str]] = {"global": {}, ":env:": {}}
    for scope, name, value in re.findall(r"^(global|:env:)\.([\w-]+)='(.*)'$", done.stdout, re.MULTILINE):
        found[scope][name] = value.replace("\\n", " ")
    return {**found["global"], **found[":env:"]}
