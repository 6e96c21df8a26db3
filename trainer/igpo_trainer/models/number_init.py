"""Number tokens that start out knowing their value.

A random embedding tells a small model nothing about a number; periodic features of the value make addition a
rotation, which it learns in minutes. Constructed for demos and tests: a large pre-trained model has learnt its own.
"""

from collections.abc import Mapping
from math import tau
from typing import Final

import torch

PERIODS: Final = (2, 3, 5, 10, 16, 32, 64)
SCALE: Final = 0.15


def fourier_features(values: torch.Tensor) -> torch.Tensor:
    """Features of whole numbers, values_N → features_NF with F = 2·len(PERIODS) + 1.

    cos and sin of 2πn/T for each period T, and n/25 − 1/2 for the magnitude.
    """
    values_N1 = values.to(torch.float64).unsqueeze(-1)
    angles_NT = tau * values_N1 / torch.tensor(PERIODS, dtype=torch.float64)
    return torch.cat([angles_NT.cos(), angles_NT.sin(), values_N1 / 25 - 0.5], dim=-1).float()


@torch.no_grad()
def add_number_features(
    tables: tuple[torch.Tensor, ...], value_of_id: Mapping[int, int], generator: torch.Generator
) -> None:
    """Add SCALE times the projected features of its value to every number's row of each table_VD, in place.

    All tables share one standard normal projection_FD, so that reading and writing a number start out aligned.
    """
    ids = torch.tensor(list(value_of_id), dtype=torch.long)
    features_NF = fourier_features(torch.tensor(list(value_of_id.values())))
    projection_FD = torch.randn(features_NF.shape[1], tables[0].shape[1], generator=generator)
    for table_VD in tables:
        table_VD[ids] += (SCALE * (features_NF @ projection_FD)).to(table_VD.dtype)
