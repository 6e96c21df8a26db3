"""Two models measured on the same problems, compared problem by problem."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from igpo_trainer.observe.estimates import Difference, Estimate, Values, avg_at_k, pass_at_k
from igpo_trainer.observe.evaluations import Evaluation
from igpo_trainer.observe.records import EvaluationRecord, Measurement
from igpo_trainer.spec.errors import InvalidDataError

BOOTSTRAP_SEED = 0
_SETTINGS = (
    "denoising_steps",
    "block_length",
    "completion_length",
    "remasking",
    "cfg_scale",
    "cache",
    "confidence_threshold",
    "seed",
)
"""What else should be equal for a difference to be the models' own."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One data set under two models. Numbers are over the problems that both have."""

    dataset: str
    samples: int
    temperature: float
    problems: int
    only_one: int
    """Problems that only the first was measured on."""
    only_other: int
    one: Estimate
    """avg@k of the first; pass@1 when k is 1."""
    other: Estimate
    accuracy: Difference
    """First minus second, paired."""
    passed: Difference | None
    """Of pass@k; None when k is 1."""
    by_difficulty: dict[str, Difference]
    """Of the accuracy; empty when there is one difficulty only."""
    unjudged: tuple[int, int]
    """Completions without a verdict, which count as not right, of each side."""
    differing: dict[str, tuple[str, str]]
    """Settings of the measurement that are not equal, by name."""


COMPARISONS: Final[TypeAdapter[Comparison]] = TypeAdapter(Comparison)
"""Comparisons as JSON."""


def compare_evaluations(
    one: Mapping[Measurement, Evaluation], other: Mapping[Measurement, Evaluation]
) -> list[Comparison]:
    """Compare whatever both have been measured on, in the order of the first.

    Raises InvalidDataError when they share no measurement, or one without a common problem.
    """
    shared = [measurement for measurement in one if measurement in other]
    if not shared:
        names = ["; ".join(_name(m) for m in side) for side in (one, other)]
        raise InvalidDataError(
            f"no measurement is in both: one has {names[0]}, the other {names[1]}; measure both with the same "
            "data set, samples and temperature"
        )
    return [_compare(one[measurement], other[measurement]) for measurement in shared]


def _compare(one: Evaluation, other: Evaluation) -> Comparison:
    keys, others = _numbered(one.problems), _numbered(other.problems)
    place = {key: p for p, key in enumerate(others)}
    common = [(p, place[key]) for p, key in enumerate(keys) if key in place]
    if not common:
        raise InvalidDataError(
            f"{_name(one.record.measurement)}: the two were measured on different problems ({len(keys)} and "
            f"{len(others)}, none in common); use the same data set, seed and holdout.rows"
        )
    first, second = [p for p, _ in common], [q for _, q in common]
    k = one.record.samples
    right = one.right_counts()[first], other.right_counts()[second]
    scores = avg_at_k(right[0], k), avg_at_k(right[1], k)
    kinds = [one.samples[p * k].difficulty or "all" for p in first]
    return Comparison(
        dataset=one.record.dataset,
        samples=k,
        temperature=one.record.temperature,
        problems=len(common),
        only_one=len(keys) - len(common),
        only_other=len(others) - len(common),
        one=Estimate.of(scores[0], BOOTSTRAP_SEED),
        other=Estimate.of(scores[1], BOOTSTRAP_SEED),
        accuracy=_difference(*scores),
        passed=_difference(pass_at_k(right[0], k, k), pass_at_k(right[1], k, k)) if k > 1 else None,
        by_difficulty=_by_kind(kinds, *scores),
        unjudged=(one.record.unjudged, other.record.unjudged),
        differing=_differing(one.record, other.record),
    )


def _difference(one_P: Values, other_P: Values) -> Difference:
    return Difference.between(one_P, other_P, BOOTSTRAP_SEED)


def _by_kind(kinds: Sequence[str], one_P: Values, other_P: Values) -> dict[str, Difference]:
    if len(set(kinds)) < 2:
        return {}
    rows = {kind: [p for p, name in enumerate(kinds) if name == kind] for kind in sorted(set(kinds))}
    return {kind: _difference(one_P[chosen], other_P[chosen]) for kind, chosen in rows.items()}


def _numbered(keys: Sequence[str]) -> list[tuple[str, int]]:
    """Tell apart problems that a set holds twice: (key, how many of it came before)."""
    seen: Counter[str] = Counter()
    numbered = []
    for key in keys:
        numbered.append((key, seen[key]))
        seen[key] += 1
    return numbered


def _differing(one: EvaluationRecord, other: EvaluationRecord) -> dict[str, tuple[str, str]]:
    pairs = {name: (str(getattr(one, name)), str(getattr(other, name))) for name in _SETTINGS}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _name(measurement: Measurement) -> str:
    dataset, samples, temperature = measurement
    return f"{dataset} ({samples} x T {temperature:g})"
