"""What makes Kueue see the pods of a run as one group."""

from igpo_operator.render.gang import Gang
from igpo_operator.render.names import (
    KUEUE_COUNT_ANNOTATION,
    KUEUE_GROUP_LABEL,
    KUEUE_PRIORITY_LABEL,
    KUEUE_QUEUE_LABEL,
    queue_group,
)


def queue_labels(gang: Gang) -> dict[str, str]:
    """Labels of a pod; none without a queue, nor of the pod that rewrites: it asks for nothing that is queued for.

    The group is the same for all attempts until a suspend, so that a restarted gang keeps its quota.
    """
    policy = gang.resource.cluster.run_policy
    if gang.rewrites or not policy.queue_name:
        return {}
    labels = {
        KUEUE_QUEUE_LABEL: policy.queue_name,
        KUEUE_GROUP_LABEL: queue_group(gang.kind, gang.name, gang.uid, gang.resolved.queue_epoch),
    }
    if policy.workload_priority_class_name:
        labels[KUEUE_PRIORITY_LABEL] = policy.workload_priority_class_name
    return labels


def queue_annotations(gang: Gang) -> dict[str, str]:
    """Annotations of a pod; none without the labels."""
    return {KUEUE_COUNT_ANNOTATION: str(gang.replicas)} if queue_labels(gang) else {}
