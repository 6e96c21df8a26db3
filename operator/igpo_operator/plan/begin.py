"""Before the first attempt: image, source, provenance."""

from collections.abc import Iterator

from igpo_operator.api.reasons import Phase, Reason
from igpo_operator.api.status import Resolved, SourceStatus
from igpo_operator.plan.chain import resolve
from igpo_operator.plan.conditions import View
from igpo_operator.plan.rewriting import with_attempt
from igpo_operator.plan.scene import Scene, Step
from igpo_operator.plan.suspend import before_start
from igpo_operator.render.names import base_name
from igpo_trainer.spec.identity import run_hash

NO_IMAGE = "no trainer image is known; set spec.image, or the operator's trainer image in its chart"


def begin(scene: Scene) -> Step:
    """Record attempt 1 once it can start; until then say what is in the way."""
    status, terms = scene.status, scene.terms
    if terms.suspend:
        return before_start(scene)
    image = terms.image or scene.observed.facts.trainer_image
    if not image:
        return Step(status, View(Phase.PENDING, Reason.NO_IMAGE, NO_IMAGE, stalled=True))
    source = None
    if terms.source is not None:
        link = resolve(scene.observed, terms.source, terms)
        if link.reason is not None:
            return Step(status, View(Phase.WAITING, link.reason, link.message, stalled=link.stalled))
        source = link.source
    number = 1 + max(_numbers(scene), default=0)
    status = status.model_copy(update={"resolved": _resolved(scene, image, source)})
    return Step(
        with_attempt(status, terms, number, scene.now),
        View(Phase.PENDING, Reason.STARTING, f"attempt {number} is about to start"),
    )


def _numbers(scene: Scene) -> Iterator[int]:
    """Attempt numbers that are taken: none, unless somebody has edited status by hand."""
    if scene.status.attempt is not None:
        yield scene.status.attempt.number
    yield from (pod.attempt for pod in scene.observed.pods)


def _resolved(scene: Scene, image: str, source: SourceStatus | None) -> Resolved:
    """Provenance as far as it is known before the trainer has said more."""
    run, trainer = scene.observed.run, scene.resource.trainer
    known = scene.status.resolved or Resolved(image=image)
    return known.model_copy(
        update={
            "image": image,
            "seed": trainer.seed,
            "spec_hash": run_hash(run.kind.kind, trainer),
            "model_revision": trainer.model.revision,
            "dataset_revision": trainer.dataset.revision,
            "operator_version": scene.observed.facts.version,
            "source": source,
            "claim_name": scene.resource.cluster.storage.claim_name or base_name(run.kind, run.name),
        }
    )
