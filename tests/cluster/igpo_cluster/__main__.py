"""The command line: `python -m igpo_cluster COMMAND`."""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence

from igpo_cluster import packages, programs, workspace
from igpo_cluster.cache import cache_folder
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options
from igpo_cluster.errors import ClusterError
from igpo_cluster.full import FullCluster
from igpo_cluster.images import Images, build_all
from igpo_cluster.progress import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a `ClusterError` is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m igpo_cluster", description=__doc__)
    parser.add_argument("--name", default="dev", help="which cluster (default: %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (command, help_) in _COMMANDS.items():
        sub = commands.add_parser(name, help=help_)
        sub.set_defaults(command=command)
        if name == "programs":
            sub.add_argument("programs", nargs="*", default=list(programs.CONTROL_PLANE), metavar="PROGRAM")
        if name == "up":
            sub.add_argument("--level", choices=["control-plane", "full"], default="full")
    options = parser.parse_args(arguments)
    try:
        options.command(options)
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


def _up(options: argparse.Namespace) -> None:
    if any(space.state.name == options.name for space in workspace.every() if not space.abandoned):
        raise ClusterError(f"a cluster called {options.name} is up already; stop it with `make cluster-down`")
    wanted = Options(name=options.name, kwok=True)
    harness = FullCluster(wanted) if options.level == "full" else ControlPlane(wanted)
    cluster = harness.__enter__()
    if harness.workspace:
        harness.workspace.update(stays=True, owners=[])
    cluster.close()
    say(f"the cluster is up and stays up. Use it:   export KUBECONFIG={cluster.kubeconfig}")
    say(f"with this kubectl:  {programs.locate('kubectl')}    logs of its parts: {cluster.folder / 'logs'}")
    say("stop it and remove every trace:   make cluster-down")


def _down(options: argparse.Namespace) -> None:
    workspace.sweep()
    spaces = [space for space in workspace.every() if space.state.name == options.name and space.state.stays]
    if not spaces:
        say(f"no cluster called {options.name} is up; nothing to do")
    for space in spaces:
        space.destroy()
        say(f"{space.folder} and everything it ran are gone")


def _status(_: argparse.Namespace) -> None:
    for space in workspace.every():
        state = space.state
        use = "abandoned" if space.abandoned else "stays" if state.stays else "in use"
        sys.stdout.write(f"{state.name}\t{use}\t{'ready' if state.ready else 'starting'}\t{space.folder}\n")


def _kubeconfig(options: argparse.Namespace) -> None:
    sys.stdout.write(f"{workspace.find(options.name).folder / 'admin.kubeconfig'}\n")


def _env(options: argparse.Namespace) -> None:
    folder = workspace.find(options.name).folder
    sys.stdout.write(f"export KUBECONFIG={folder / 'admin.kubeconfig'}\n")
    sys.stdout.write(f"export PATH={programs.locate('kubectl').parent}:{programs.locate('helm').parent}:$PATH\n")


def _images(options: argparse.Namespace) -> None:
    images = Images.load(Cluster(workspace.find(options.name).folder))
    sys.stdout.write(f"{images.operator}\n{images.trainer}\n")


def _build(_: argparse.Namespace) -> None:
    for reference, size in build_all():
        sys.stdout.write(f"{reference}\t{size / 1e6:,.0f} MB\n")


def _clean(_: argparse.Namespace) -> None:
    workspace.sweep()
    if workspace.every():
        raise ClusterError("a cluster is up and uses the cache; see `python -m igpo_cluster status`")
    keep = programs.keys()
    old = [folder for folder in cache_folder("programs").iterdir() if folder.name not in keep]
    for folder in [*old, *(cache_folder(name) for name in ("buildah", "containerd", "images"))]:
        say(f"delete {folder}")
        shutil.rmtree(folder)


def _packages(_: argparse.Namespace) -> None:
    packages.install()


def _programs(options: argparse.Namespace) -> None:
    for name in options.programs:
        sys.stdout.write(f"{programs.locate(name)}\n")


_COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], str]] = {
    "up": (_up, "start a cluster that stays until `down`"),
    "down": (_down, "stop it and remove every trace, also of clusters whose harness died"),
    "status": (_status, "list the clusters of this user"),
    "kubeconfig": (_kubeconfig, "print the path of the administrator's kubeconfig"),
    "env": (_env, "print shell lines that set KUBECONFIG and PATH"),
    "images": (_images, "build the images of this tree, give them to the node and print their references"),
    "build": (_build, "build the images of this tree without a cluster; print their references and sizes"),
    "clean": (_clean, "delete images and old programs from the cache"),
    "packages": (_packages, "install the system packages that a node needs, by apt, as root"),
    "programs": (_programs, "build programs now (default: those of the control plane) and print their paths"),
}

if __name__ == "__main__":
    sys.exit(main())
