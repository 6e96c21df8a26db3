"""Random lives: faults between healthy rounds, and an operator that may be killed after any write."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from igpo_operator.api.kinds import IGPO_TRAINING, LENGTH_ALIGNED_SFT
from planworld import pictures
from planworld.life import NAME, POLICY, QUOTA, Life
from planworld.world import World

RANKS = st.integers(0, 2)
CRASH = st.none() | st.integers(0, 9)
HEALTHY = st.tuples(st.just("healthy"), st.sampled_from([1, 20]), st.integers(0, 5), st.booleans(), CRASH)
FAULTS = st.one_of(
    st.tuples(st.just("die"), RANKS, st.sampled_from([1, 137, 75, 143])),
    st.tuples(st.just("die"), RANKS, st.just(1)),
    st.tuples(
        st.just("disrupt"),
        RANKS,
        st.sampled_from(["EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager"]),
    ),
    st.tuples(st.just("delete"), RANKS),
    st.tuples(st.just("node_dies"), RANKS),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("refuse"), st.sampled_from([None, QUOTA, POLICY, NAME])),
    st.tuples(st.just("finish")),
    st.tuples(st.just("rest"), st.floats(0, 0.999)),
    st.tuples(st.just("rest"), st.just(0.999)),
    st.tuples(st.just("time"), st.sampled_from([5, 40, 700, 2500])),
    st.tuples(st.just("happen"), st.sampled_from(["admit", "schedule", "start", "kubelet", "look"])),
    st.tuples(st.just("reconcile"), CRASH),
)
STEPS = st.integers(0, 4).flatmap(lambda number: HEALTHY if number else FAULTS)
STORIES = st.integers(5, 50).flatmap(lambda number: st.lists(STEPS, min_size=number, max_size=number))


@st.composite
def worlds(draw):
    queued = draw(st.booleans())
    policy = {"backoffLimit": draw(st.integers(0, 3)), "stallTimeoutSeconds": 600, "preRunningDeadlineSeconds": 300}
    if queued:
        policy["queueName"] = "gpus"
    if draw(st.booleans()):
        policy["ttlSecondsAfterFinished"] = 60
    if draw(st.booleans()):
        policy["activeDeadlineSeconds"] = 5000
    workers = {"replicas": draw(st.integers(1, 3)), "gpusPerWorker": 0}
    rewrites = draw(st.booleans())
    base = pictures.rewriting_spec if rewrites else pictures.spec
    raw = base(workers=workers, runPolicy=policy, suspend=draw(st.booleans()))
    return World(spec=raw, kind=LENGTH_ALIGNED_SFT if rewrites else IGPO_TRAINING, queued=queued)


@settings(max_examples=100)
@given(worlds(), STORIES)
def test_whatever_happens_no_attempts_overlap_none_is_charged_twice_and_the_run_ends(world, story):
    life = Life(world)
    for name, *arguments in story:
        getattr(life, name)(*arguments)
        life.check()
    for record in world.status.attempts:
        event(f"{record.stage}: class {record.reason_class}")
    life.end_well()
    event(f"{world.status.phase}")
