"""The programs a cluster is made of: found, or built from Go modules into the user's cache.

Looked up in `$KUBEBUILDER_ASSETS`, then in `<cache>/igpo/programs/<key>/`, then built. The key is a hash of everything
that decides the outcome: go.mod, go.sum, sources, flags and the version of Go.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from igpo_cluster.cache import cache_folder, locked
from igpo_cluster.errors import ClusterError
from igpo_cluster.progress import timed

MODULES = Path(__file__).parent.parent / "programs"
OLDEST_GO = (1, 25)


@dataclass(frozen=True)
class Program:
    """One executable: built from a module of ours below `programs/`, or from a released version of its own module."""

    name: str
    package: str
    cold: str
    """How long a build on two cores takes, for people who wait."""
    module: str = ""
    version: str = ""
    tags: str = ""
    """Build tags."""


_PROMETHEUS = "github.com/prometheus/prometheus/cmd"
_DISCOVERY = "remove_all_sd,enable_kubernetes_sd,enable_file_sd"
"""Prometheus knows the targets of every cloud; ours are pods and files."""
_OPERATOR = "github.com/prometheus-operator/prometheus-operator"

PROGRAMS = {
    program.name: program
    for program in (
        Program("etcd", "go.etcd.io/etcd/server/v3", "1 min", module="kubernetes"),
        Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "4 min", module="kubernetes"),
        Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", "30 s", module="kubernetes"),
        Program(
            "kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "1 min", module="kubernetes"
        ),
        Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", "20 s", module="kubernetes"),
        Program("kubelet", "k8s.io/kubernetes/cmd/kubelet", "1 min", module="kubernetes"),
        Program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", "30 s", module="kubernetes"),
        Program("pause", "igpo.dev/programs/pause", "2 s", module="pause"),
        Program("kwok", "sigs.k8s.io/kwok/cmd/kwok", "2 min", version="v0.8.0"),
        Program("coredns", "github.com/coredns/coredns", "2 min", version="v1.15.0"),
        Program("helm", "helm.sh/helm/v3/cmd/helm", "2 min", version="v3.22.0"),
        Program("kueue", "sigs.k8s.io/kueue/cmd/kueue", "3 min", module="kueue"),
        Program("promtool", f"{_PROMETHEUS}/promtool", "2 min", module="prometheus", tags=_DISCOVERY),
        Program("prometheus", f"{_PROMETHEUS}/prometheus", "3 min", module="prometheus", tags=_DISCOVERY),
        Program("prometheus-operator", f"{_OPERATOR}/cmd/operator", "2 min", module="prometheus-operator"),
        Program(
            "prometheus-config-reloader",
            f"{_OPERATOR}/cmd/prometheus-config-reloader",
            "2 min, 4 s after its operator",
            module="prometheus-operator",
        ),
        Program(
            "alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager", "20 s", module="prometheus-operator"
        ),
        Program("igpo-judges", "igpo.dev/programs/judges", "2 min", module="judges"),
    )
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE = ("kubelet", "kube-proxy", "coredns")


def locate(name: str) -> Path:
    """The executable `name`, built now if nobody has it yet.

    Raises:
        ClusterError: Go is missing or too old, or the build fails.
    """
    program = PROGRAMS[name]
    given = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nonexistent")) / name
    if given.is_file():
        return given
    folder = cache_folder("programs", _key(program))
    built = folder / name
    if built.is_file():
        return built
    with locked(folder / "lock", f"it builds {name}"):
        if not built.is_file():
            with timed(f"build {name}", program.cold):
                _build(program, built)
    return built


def module_folder(module: str, dependency: str) -> Path:
    """Where the sources of `dependency`, as pinned by our `module`, lie on this machine."""
    answer = json.loads(_go("mod", "download", "-json", dependency, cwd=MODULES / module))
    return Path(answer["Dir"])


def released_folder(module: str, version: str) -> Path:
    """Where the sources of a released module lie on this machine; for one of which nothing is built."""
    answer = json.loads(_go("mod", "download", "-json", f"{module}@{version}", cwd=MODULES))
    return Path(answer["Dir"])


def keys() -> set[str]:
    """The names of the folders that hold today's programs; others are of old versions."""
    return {_key(program) for program in PROGRAMS.values()}


def _build(program: Program, target: Path) -> None:
    draft = target.with_name(f"{program.name}.{os.getpid()}")
    flags = ["-trimpath", "-tags", program.tags, "-ldflags", _link_flags(program.module)]
    if program.module:
        _go("build", *flags, "-o", str(draft), program.package, cwd=MODULES / program.module)
    else:
        bin_folder = target.with_name(f"bin.{os.getpid()}")
        _go("install", *flags, f"{program.package}@{program.version}", cwd=target.parent, GOBIN=str(bin_folder))
        (bin_folder / program.name).replace(draft)
        bin_folder.rmdir()
    draft.replace(target)


def _key(program: Program) -> str:
    digest = hashlib.sha256()
    digest.update(f"{_go_version()} {_link_flags(program.module)} {program.version}{program.tags}".encode())
    if program.module:
        files = sorted(path for path in (MODULES / program.module).rglob("*") if path.suffix in {".go", ".mod", ".sum"})
        for path in files:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{program.module or program.name}-{digest.hexdigest()[:16]}"


@cache
def _link_flags(module: str) -> str:
    """Kubernetes answers `kubectl version` with what the linker writes into it; unset, the node has version v0.0.0."""
    if module != "kubernetes":
        return "-s -w"
    version = pinned_version("kubernetes", "k8s.io/kubernetes")
    major, minor = version.removeprefix("v").split(".")[:2]
    base, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
    values = [(base, "gitVersion", version), (base, "gitMajor", major), (base, "gitMinor", minor)]
    values += [(base, "gitTreeState", "clean"), (client, "gitVersion", version)]
    values += [(client, "gitMajor", major), (client, "gitMinor", minor)]
    return " ".join(["-s -w", *(f"-X {package}.{name}={value}" for package, name, value in values)])


def pinned_version(module: str, dependency: str) -> str:
    """The version of `dependency` in our `module`'s go.mod."""
    text = (MODULES / module / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    if not found:
        raise ClusterError(f"{MODULES / module / 'go.mod'} does not require {dependency}; add it with `go get`")
    return found[1]


@cache
def _go_version() -> str:
    text = _go("env", "GOVERSION", cwd=MODULES).strip()
    numbers = re.match(r"go(\d+)\.(\d+)", text)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST_GO:
        raise ClusterError(f"Go is {text}, needed is {'.'.join(map(str, OLDEST_GO))} or newer; see https://go.dev/dl/")
    return text


def _go(*arguments: str, cwd: Path, **environment: str) -> str:
    if not shutil.which("go"):
        raise ClusterError("the command `go` is not on PATH and the cluster is built with it; see https://go.dev/dl/")
    env = {**os.environ, "CGO_ENABLED": "0", **environment}
    done = subprocess.run(["go", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-20:])
        raise ClusterError(f"`go {' '.join(arguments)}` in {cwd} failed:\n{tail}")
    return done.stdout
