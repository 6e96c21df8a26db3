"""Numbers over problems: avg@k, pass@k, and bootstrap intervals, alone or paired between two models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]

RESAMPLES: Final = 1000
INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, value_P: Values, seed: int) -> Self:
        """Estimate the mean of one value per problem."""
        return cls(float(value_P.mean()), *bootstrap_interval(value_P, seed))


def bootstrap_interval(value_P: Values, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over problems, from 1,000 resamples of problems, keyed by `seed`.

    Problems are drawn, not samples: the k samples of a problem are not independent of each other. Of differences
    between two models on the same problems it is the paired interval.
    """
    generator = np.random.default_rng(seed)
    picks_RP = generator.integers(0, len(value_P), size=(RESAMPLES, len(value_P)))
    low, high = np.percentile(value_P[picks_RP].mean(axis=1), INTERVAL)
    return float(low), float(high)


def avg_at_k(right_P: Values, samples: int) -> Values:
    """Share of right samples of each problem; with one sample it is pass@1."""
    return right_P / samples


def pass_at_k(right_P: Values, samples: int, k: int) -> Values:
    """Probability, per problem, that at least one of k samples is right, estimated without bias from n ≥ k samples.

    1 − C(n − c, k) / C(n, k) with n samples of which c are right (Chen et al., 2021, "Evaluating Large Language Models
    Trained on Code", arXiv 2107.03374, Eq. 1), as a product, so that no binomial overflows. 1 − (1 − c/n)ᵏ would be
    biased downwards.

    Raises:
        ValueError: k is not within 1..n.

    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} cannot be estimated from {samples} samples")
    wrong_P = samples - np.asarray(right_P, dtype=np.float64)
    drawn_K = np.arange(k)
    # All k draws wrong: (n−c)/n · (n−c−1)/(n−1) ···; a factor below 0 means fewer wrong samples than draws.
    factors_PK = np.maximum(wrong_P[:, None] - drawn_K, 0.0) / (samples - drawn_K)
    chance_P: Values = 1.0 - factors_PK.prod(axis=1)
    return chance_P


def powers_up_to(samples: int) -> tuple[int, ...]:
    """The k of a pass@k curve: 1, 2, 4, … and `samples` itself."""
    powers = [1 << bit for bit in range(samples.bit_length()) if 1 << bit < samples]
    return (*powers, samples)


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one model is above another on the same problems."""

    estimate: Estimate
    """Mean of the differences, with the paired interval."""
    better: int
    """Problems on which the first has the higher value."""
    worse: int
    equal: int

    @classmethod
    def between(cls, one_P: Values, other_P: Values, seed: int) -> Self:
        """Compare two models by one value per problem, the problems in the same order."""
        gain_P = one_P - other_P
        return cls(
            Estimate.of(gain_P, seed),
            better=int((gain_P > 0).sum()),
            worse=int((gain_P < 0).sum()),
            equal=int((gain_P == 0).sum()),
        )


def by_group(names: tuple[str, ...], value_P: Values, estimate: Callable[[Values], Estimate]) -> dict[str, Estimate]:
    """Estimate each group of problems by itself, the groups in the order of their names."""
    labels_P = np.array(names)
    return {str(name): estimate(value_P[labels_P == name]) for name in sorted(set(names))}
