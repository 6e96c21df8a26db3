"""The image below ours. The Dockerfiles name a public one; here a Debian made from packages stands in, or what
`IGPO_BASE_IMAGE` names."""

import os
import shutil
from pathlib import Path

from igpo_cluster.builder import buildah
from igpo_cluster.cache import cache_folder
from igpo_cluster.errors import ClusterError
from igpo_cluster.machine import run
from igpo_cluster.progress import timed

_NAME = "localhost/igpo-base:bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates,iproute2,iputils-ping"


def base_image() -> str:
    """The reference of the base, which buildah's store has after this call.

    Raises:
        ClusterError: mmdebstrap or buildah is missing or fails.
    """
    given = os.environ.get("IGPO_BASE_IMAGE")
    if given:
        return given
    if not buildah("images", "--quiet", "--filter", f"reference={_NAME}").strip():
        with timed("make the base image", "1 min"):
            _make()
    return _NAME


def _make() -> None:
    if not shutil.which("mmdebstrap"):
        raise ClusterError("mmdebstrap is missing; run `python -m igpo_cluster packages`, or set IGPO_BASE_IMAGE")
    context = cache_folder("base")
    archive = context / "base.tar"
    run(["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", archive])
    Path(context, "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
    buildah("build", "--isolation=chroot", f"--tag={_NAME}", context)
    shutil.rmtree(context)
