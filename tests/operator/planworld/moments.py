"""Typical moments of a run, whose status is stored in tests/data/status/X.yaml. To write every one again:

PYTHONPATH=tests/operator python -m planworld.moments
"""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from igpo_operator.api.kinds import LENGTH_ALIGNED_SFT
from igpo_operator.api.status import RunStatus
from planworld import pictures
from planworld.life import QUOTA
from planworld.world import World

FOLDER = Path(__file__).parents[2] / "data" / "status"


def running(**changes) -> World:
    world = World(**changes)
    for _ in range(3):
        world.live(2)
    world.train(5, save=True)
    world.tick(30)
    world.settle()
    return world


def waiting() -> World:
    world = World(spec=pictures.spec(model={"from": {"name": "base"}}))
    world.settle()
    return world


def queued() -> World:
    world = World(spec=pictures.spec(runPolicy={"queueName": "gpus"}), queued=True)
    world.settle()
    return world


def unschedulable() -> World:
    world = World()
    world.settle()
    for pod in world.of_attempt():
        world.put(pod, unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    world.tick(20)
    world.settle()
    return world


def image_unavailable() -> World:
    world = World()
    world.settle()
    world.schedule()
    for pod in world.of_attempt():
        world.put(pod, trainer=pictures.waiting("ErrImagePull", 'failed to pull "registry.example/x": not found'))
    world.tick(20)
    world.settle()
    return world


def quota_exceeded() -> World:
    world = World(refuse=QUOTA)
    world.settle()
    return world


def restarting() -> World:
    world = running()
    world.exit(world.of_attempt()[1], 137, last_lines=["step 5", "Killed"])
    world.settle()
    return world


def backing_off() -> World:
    world = restarting()
    world.kubelet()
    world.settle()
    return world


def suspending() -> World:
    world = running()
    world.change(suspend=True)
    world.settle()
    return world


def suspended() -> World:
    world = suspending()
    world.kubelet()
    world.settle()
    return world


def rewriting() -> World:
    world = World(spec=pictures.rewriting_spec(), kind=LENGTH_ALIGNED_SFT)
    for _ in range(3):
        world.live(2)
    world.rewrite(7)
    world.tick(30)
    world.settle()
    return world


def rewriting_failed() -> World:
    world = rewriting()
    world.exit(world.of_attempt()[0], 137, last_lines=["7 of 20 traces", "Killed"])
    world.settle()
    world.kubelet()
    world.settle()
    return world


def rewritten() -> World:
    world = rewriting()
    world.finish()
    world.settle()
    return world


def complete() -> World:
    world = running()
    world.finish()
    world.settle()
    return world


def failed() -> World:
    world = running()
    for pod in world.of_attempt():
        world.exit(pod, 64, cause="VolumeHoldsAnotherRun")
    world.settle()
    return world


def not_finite() -> World:
    world = running()
    world.look()
    assert world.scrape is not None
    said = world.scrape.status.model_copy(update={"non_finite": ["loss"]})
    world.scrape = pictures.replace(world.scrape, status=said)
    world.settle()
    return world


MOMENTS: dict[str, Callable[[], World]] = {
    moment.__name__.replace("_", "-"): moment
    for moment in (
        waiting,
        queued,
        unschedulable,
        image_unavailable,
        quota_exceeded,
        running,
        not_finite,
        restarting,
        backing_off,
        suspending,
        suspended,
        rewriting,
        rewriting_failed,
        rewritten,
        complete,
        failed,
    )
}


def text(status: RunStatus) -> str:
    """Status as it is stored."""
    yaml = YAML(typ="rt")
    yaml.width = 10_000
    stream = StringIO()
    yaml.dump(status.dump(), stream)
    return stream.getvalue()


def stored(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each, moment in MOMENTS.items():
        (FOLDER / f"{each}.yaml").write_text(text(moment().status))
