"""`make cluster-demo`: from nothing to a trained model on a real Kubernetes, every step explained as it runs."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from igpo_cluster import programs, workspace
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import Options
from igpo_cluster.errors import ClusterError
from igpo_cluster.full import FullCluster
from igpo_cluster.images import Images
from igpo_e2e.manifests import DEMO, ROOT, documents
from igpo_e2e.operator import CHART, NAMESPACE, RELEASE, Operator
from igpo_e2e.run import Body, Run, over, phase_of
from igpo_operator.api.kinds import kind_named

NAME = "dev"
"""The cluster of `make cluster`: it is used if it is up, and `make cluster-down` stops it."""
TRAINING = "training"
REPORT = ROOT / "runs" / "cluster-report.html"
LONGEST_SECONDS = 3600.0
LOOK_EVERY_SECONDS = 2.0


def main() -> int:
    """Run the demo; 1 with one line on stderr if a step fails."""
    console = Console(highlight=False)
    try:
        _Demo(console).run()
    except ClusterError as error:
        console.print(f"[red]cluster-demo: {error}")
        return 1
    except KeyboardInterrupt:
        console.print(
            "\nstopped; training goes on in the cluster: `make cluster-demo` again follows it, "
            "`make cluster-down` ends it"
        )
        return 130
    return 0


class _Demo:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0

    def run(self) -> None:
        cluster = self._cluster()
        try:
            runs = self._train(cluster)
            self._report(cluster, runs[-1])
            self._farewell(cluster, runs)
        finally:
            cluster.close()

    def _cluster(self) -> Cluster:
        self._explain(
            "A Kubernetes of your own",
            "etcd, API server, controllers, scheduler, kubelet, containerd, network, DNS: the real programs, built "
            "once from source (15 minutes on two cores) and kept in your cache. They run in namespaces of their own.",
        )
        for space in workspace.every():
            if space.state.name == NAME and space.state.ready and not space.abandoned:
                self._console.print(f"  one is up already: {space.folder}")
                return Cluster(space.folder)
        harness = FullCluster(Options(name=NAME))
        cluster = harness.__enter__()
        if harness.workspace:
            harness.workspace.update(stays=True, owners=[])
        return cluster

    def _train(self, cluster: Cluster) -> list[Run]:
        self._explain(
            "Images, and the operator by its chart",
            "images/operator and images/trainer are built and handed to the node. Elsewhere they come from a registry.",
        )
        images = Images.load(cluster)
        operator = Operator(cluster, images)
        repository, _, tag = images.operator.rpartition(":")
        trainer, _, trainer_tag = images.trainer.rpartition(":")
        chart = f"helm upgrade --install {RELEASE} {CHART.relative_to(ROOT)} -n {NAMESPACE} --create-namespace"
        own = f"--set image.repository={repository},image.tag={tag}"
        of_runs = f"--set trainerImage.repository={trainer},trainerImage.tag={trainer_tag}"
        self._console.print(f"  [bold]$ {chart} {own} {of_runs}", soft_wrap=True)
        operator.install()
        self._explain(
            "One manifest",
            "Two rounds of supervised fine-tuning of a small model from nothing, then reinforcement learning from the "
            f"result, each waiting for the one before. The namespace {TRAINING} enforces restricted Pod Security.",
            f"kubectl apply -n {TRAINING} -f {DEMO.relative_to(ROOT)}",
        )
        cluster.create_namespace(TRAINING, pod_security="restricted")
        self._console.print(cluster.kubectl("apply", "--server-side", "-n", TRAINING, "-f", DEMO).rstrip())
        runs = [Run(cluster, item["kind"], TRAINING, item["metadata"]["name"]) for item in documents(DEMO)]
        self._explain(
            "Training",
            "What `igpo status --watch` shows. Reward and all-wrong groups are the last step's.",
        )
        self._watch(runs)
        return runs

    def _watch(self, runs: Sequence[Run]) -> None:
        deadline = time.monotonic() + LONGEST_SECONDS
        with Live(console=self._console, refresh_per_second=2) as live:
            while time.monotonic() < deadline:
                bodies = [run.body() for run in runs]
                live.update(_table(bodies))
                if any(phase_of(body) == "Failed" for body in bodies):
                    break
                if all(map(over, bodies)):
                    return
                time.sleep(LOOK_EVERY_SECONDS)
        worst = next(body for body in bodies if phase_of(body) != "Complete")
        message = worst.get("status", {}).get("message", "no status was ever written")
        raise ClusterError(f"{worst['kind']}/{worst['metadata']['name']} is {phase_of(worst) or 'unseen'}: {message}")

    def _report(self, cluster: Cluster, run: Run) -> None:
        claim = run.status()["resolved"]["claimName"]
        self._explain(
            "The report",
            f"It lies beside the model on the volume claim {claim}, which outlives the run. A small pod that mounts "
            "the claim reads it out.",
            f"kubectl exec -n {TRAINING} reader -- cat {_report_path(run)}",
        )
        image = run.status()["resolved"]["image"]
        cluster.apply(_reader(claim, image), namespace=TRAINING)
        cluster.kubectl("wait", "pod/reader", "-n", TRAINING, "--for=condition=Ready", "--timeout=120s")
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(cluster.kubectl("exec", "-n", TRAINING, "reader", "--", "cat", _report_path(run)))
        cluster.kubectl("delete", "pod", "reader", "-n", TRAINING, "--now")
        self._console.print(f"  written: {REPORT}", soft_wrap=True)

    def _farewell(self, cluster: Cluster, runs: Sequence[Run]) -> None:
        last = runs[-1].status()
        self._explain(
            "Done",
            f"Reward {last['metrics'].get('reward', '–')}, held-out accuracy {last['metrics'].get('accuracy', '–')} "
            f"after {last['progress']['step']} steps. The cluster stays up, so look around:",
        )
        kubectl = programs.locate("kubectl")
        for line in (
            f"export KUBECONFIG={cluster.kubeconfig} PATH={kubectl.parent}:$PATH",
            f"kubectl get igpo,lasft,pods,pvc -n {TRAINING}",
            f"kubectl describe igpo -n {TRAINING}",
            f"kubectl logs -n {NAMESPACE} deploy/igpo-igpo-operator",
            "kubectl explain igpo.spec.hints",
            "make cluster-down    # stops it and removes every trace",
        ):
            self._console.print(f"  [bold]{line}", soft_wrap=True)

    def _explain(self, title: str, why: str, command: str = "") -> None:
        self._step += 1
        self._console.print(f"\n[bold cyan]{self._step}. {title}[/]\n[dim]{why}[/]")
        if command:
            self._console.print(f"  [bold]$ {command}", soft_wrap=True)


def _table(bodies: Sequence[Body]) -> Table:
    """One line a run, and the sentence of the first that is not over."""
    table = Table("run", "phase", "step", "loss", "reward", "all wrong", "accuracy", "restarts")
    for body in bodies:
        status: dict[str, Any] = body.get("status") or {}
        progress, metrics = status.get("progress") or {}, status.get("metrics") or {}
        table.add_row(
            f"{kind_named(body['kind']).short}/{body['metadata']['name']}",
            phase_of(body),
            f"{progress['step']}/{progress.get('plannedSteps', '?')}" if "step" in progress else "",
            *(metrics.get(name, "") for name in ("loss", "reward", "allWrongInitial", "accuracy")),
            str((status.get("restarts") or {}).get("total", 0)),
        )
    current = next((body for body in bodies if not over(body)), bodies[-1])
    table.caption = (current.get("status") or {}).get("message", "")
    return table


def _report_path(run: Run) -> str:
    return f"/volume/{run.kind}/{run.name}/report.html"


def _reader(claim: str, image: str) -> Body:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    container = {
        "name": "reader",
        "image": image,
        "command": ["sleep", "600"],
        "securityContext": security,
        "volumeMounts": [{"name": "volume", "mountPath": "/volume", "readOnly": True}],
    }
    pod_security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader"},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": pod_security,
            "containers": [container],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}],
        },
    }


if __name__ == "__main__":
    sys.exit(main())
