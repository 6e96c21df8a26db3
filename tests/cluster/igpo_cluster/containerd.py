"""containerd within a `Machine`. Its store of images is in the user's cache and outlives the cluster.

The store also remembers the containers of the last cluster, whose processes are long gone. They are removed before the
next cluster's kubelet can see them.
"""

import fcntl
import shutil
from pathlib import Path

from igpo_cluster import processes, programs
from igpo_cluster.cache import cache_folder
from igpo_cluster.errors import ClusterError
from igpo_cluster.image_layout import single_file_image
from igpo_cluster.machine import Machine, run
from igpo_cluster.processes import Process
from igpo_cluster.waiting import until

PAUSE_IMAGE = "igpo.dev/pause:1"
_CNI_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_CRI = "io.containerd.grpc.v1.cri"
_NAMESPACE = "k8s.io"


def socket_of(folder: Path) -> Path:
    """Where the containerd of the cluster in `folder` listens; the host reaches it too."""
    return folder / "containerd.sock"


def ctr(folder: Path, *arguments: str | Path) -> str:
    """Run `ctr` against the node's images and containers."""
    return run(ctr_words(folder, *arguments))


def ctr_words(folder: Path, *arguments: str | Path) -> list[str]:
    """The words of a `ctr` command."""
    return ["ctr", f"--address={socket_of(folder)}", f"--namespace={_NAMESPACE}", *map(str, arguments)]


def store_folder() -> Path:
    """Where images are kept across clusters."""
    return cache_folder("containerd")


def start(folder: Path, machine: Machine) -> None:
    """Start containerd and wait until it answers.

    Raises:
        ClusterError: a package is missing, or containerd ends.
    """
    store = store_folder()
    _require_unused(store)
    _write_network(folder, machine)
    first = _start(folder, machine, store, cri=False)
    _forget_containers(folder, store)
    first.stop()
    _start(folder, machine, store, cri=True)
    if not ctr(folder, "images", "list", "-q", f"name=={PAUSE_IMAGE}").strip():
        _import_pause(folder)


def _start(folder: Path, machine: Machine, store: Path, cri: bool) -> Process:
    config = folder / "containerd.toml"
    config.write_text(_configuration(folder, store, cri))
    socket_of(folder).unlink(missing_ok=True)
    process = processes.start("containerd", machine.enter(folder, ["containerd", f"--config={config}"]), folder)

    def answers() -> bool:
        process.require_alive()
        try:
            ctr(folder, "version")
        except ClusterError:
            return False
        return True

    until(answers, f"an answer of containerd; see {folder / 'logs'}", within=60)
    return process


def _configuration(folder: Path, store: Path, cri: bool) -> str:
    """The Debian and Ubuntu packages of containerd 1.6 to 2 read this version of the format."""
    plugins = next((path for path in _CNI_PLUGINS if (path / "bridge").exists()), None)
    if plugins is None:
        wanted = " or ".join(map(str, _CNI_PLUGINS))
        raise ClusterError(f"no network plug-ins in {wanted}; install them with `python -m igpo_cluster packages`")
    return f"""
        version = 2
        root = "{store}"
        state = "/run/containerd"
        disabled_plugins = [{"" if cri else f'"{_CRI}"'}]
        [grpc]
        address = "{socket_of(folder)}"
        [plugins."{_CRI}"]
        sandbox_image = "{PAUSE_IMAGE}"
        restrict_oom_score_adj = true # without CAP_SYS_RESOURCE runc dies of the attempt
        [plugins."{_CRI}".cni]
        bin_dir = "{plugins}"
        conf_dir = "{folder / "cni"}"
        [plugins."{_CRI}".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        [plugins."{_CRI}".containerd.runtimes.runc.options]
        SystemdCgroup = false
    """


def _require_unused(store: Path) -> None:
    """A second containerd on one store would wait for the first one's lock without a word."""
    database = store / "io.containerd.metadata.v1.bolt" / "meta.db"
    if database.exists():
        with database.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = f"{store} is in use by another cluster; stop that, or set XDG_CACHE_HOME to another folder"
                raise ClusterError(message) from error


def _forget_containers(folder: Path, store: Path) -> None:
    containers = ctr(folder, "containers", "list", "-q").split()
    if containers:
        ctr(folder, "containers", "delete", *containers)
    for kind in ("containers", "sandboxes"):
        shutil.rmtree(store / _CRI / kind, ignore_errors=True)


def _write_network(folder: Path, machine: Machine) -> None:
    (folder / "cni").mkdir()
    (folder / "cni" / "10-bridge.conflist").write_text(
        f"""{{
        "cniVersion": "1.0.0",
        "name": "igpo",
        "plugins": [
            {{
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {{
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{{"subnet": "{machine.pods}"}}]],
                    "routes": [{{"dst": "0.0.0.0/0"}}]
                }}
            }},
            {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
        ]
        }}"""
    )


def _import_pause(folder: Path) -> None:
    """Import an image that holds one static executable, made here: the node has no network to fetch it from."""
    archive = folder / "pause.tar"
    single_file_image(archive, PAUSE_IMAGE, programs.locate("pause"))
    ctr(folder, "images", "import", archive)
    archive.unlink()
