"""What of docs/api.md no field can say: phases, conditions, and why the API is as it is."""

from typing import Final

from igpo_operator.api.kinds import CATEGORY, VERSION
from igpo_operator.api.reasons import ConditionType, Phase
from igpo_operator.api.storage import DEFAULT_SIZE

CONDITIONS: Final = {
    ConditionType.READY: "True once the gang runs and step ≥ 1 (or rewriting has its first row), and when Complete.",
    ConditionType.RECONCILING: "There, and True, from the first write until Ready, Complete, Failed or Suspended.",
    ConditionType.STALLED: "There, and True, only when a person must act; the message says how. Also when Failed.",
    ConditionType.COMPLETE: "True when every rank has ended with 0: `kubectl wait --for=condition=Complete igpo/NAME`.",
    ConditionType.FAILED: "True when nothing will be retried; the reason is the cause, the message the trainer's line.",
    ConditionType.SUSPENDED: "True when spec.suspend has taken effect: saved, and every pod gone.",
    ConditionType.ADMITTED: "Whether the gang has its place: Kueue's quota, every pod scheduled, nothing refused.",
    ConditionType.TRAINING_HEALTHY: "False with reason NonFinite when a headline metric is NaN or infinite.",
}
PHASES: Final = {
    Phase.PENDING: "Accepted; the next attempt is about to be created, or waits out its back-off.",
    Phase.WAITING: "For the run that model.from names.",
    Phase.QUEUED: "Pods exist, Kueue holds them back.",
    Phase.STARTING: "Pods exist, not every rank runs yet.",
    Phase.REWRITING: "A pod without GPUs has the teacher rewrite the traces; status.rewriting counts them.",
    Phase.RUNNING: "Every rank runs.",
    Phase.RESTARTING: "The attempt has ended or is being stopped; another follows.",
    Phase.SUSPENDING: "The trainer saves and stops.",
    Phase.SUSPENDED: "No pod is left; spec.suspend: false goes on from the last checkpoint.",
    Phase.COMPLETE: "Done, for good.",
    Phase.FAILED: "Over, for good.",
}
DECISIONS: Final = f"""\
- **Hyper-parameters are `type: number`.** The API conventions advise against floats because they do not survive
  every round trip. Here a learning rate is written once, by a person, and never changed or computed with by a
  controller; the alternative, quoted decimals, would make the same file mean two things at a desk and on a cluster.
  JSON keeps a double exactly, and a test compares hundreds of spellings (`5e-7`, `1_000`, `0x10`, `.5`) with what
  the API server reads back. Numbers of *status* are decimal strings, because there NaN occurs and JSON has none.
- **Rules are CEL, not a webhook**, so that `kubectl apply` works while the operator is down, and everything has a
  bound, because CEL is only admitted where its cost is bounded. Nothing below `spec` is
  `x-kubernetes-preserve-unknown-fields`: rules cannot see such fields, so a run could change under its own
  checkpoints.
- **Pod fields are a typed choice.** affinity, tolerations, spreading, env, envFrom, volumes, mounts, security
  contexts: the Kubernetes names, so that text can be pasted from a pod, without what a gang cannot use (probes,
  lifecycle, more containers) and without ephemeral claims and other volume kinds that a claim of your own replaces.
- **`workers` is mutable as a whole while suspended**; one rule for all of it is easier to keep in mind than a list.
  `backoffLimit` may change at any time, like the deadlines: it decides when to give up, never what is computed.
  `terminationGracePeriodSeconds` is part of a pod, and pods are never changed, so it waits for the next attempt.
- **Without `storage` a run gets a claim of {DEFAULT_SIZE}**, ReadWriteOnce, retained: `kubectl apply` of the
  example works as it is. The size is no schema default, because then `claimName` could not exclude it. `replicas`
  above 1 must say where the ranks shall meet, by ReadWriteMany or by a claim that you vouch for.
- **`queueName: ""`, `image: ""`** and the other empty defaults mean *none*: a template can write them
  unconditionally.
- **The category is `{CATEGORY}`, not `igpo`.** kubectl looks for categories before short names: with a category
  `igpo`, `kubectl get igpo NAME` and `kubectl describe igpo NAME` ended in "you must specify only one resource".
- **Reserved**: variables of both launcher dialects, the operator's mount paths, volume names that begin with
  `igpo-`, labels and annotations of `igpo.dev/` and `kueue.x-k8s.io/`. A queue is named by `runPolicy.queueName`
  only, so that status can speak of it.
- **Values to choose from in status are open texts**, so that an operator newer than the CRD can still write its
  status.
- **Changes within {VERSION} are additive**: a field is added with a default or absent, never renamed or removed.
"""
