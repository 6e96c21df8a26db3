"""Transfer quotas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.diffusion.schedule import transfer_quotas


@given(masked=st.integers(0, 300), steps=st.integers(1, 300))
def test_quotas_sum_to_the_masked_count_and_never_rise(masked: int, steps: int) -> None:
    quotas = transfer_quotas(masked, steps)
    assert len(quotas) == steps
    assert sum(quotas) == masked
    assert list(quotas) == sorted(quotas, reverse=True)
    assert max(quotas) - min(quotas) <= 1


def test_the_remainder_goes_to_the_first_steps() -> None:
    assert transfer_quotas(11, 4) == (3, 3, 3, 2)
    assert transfer_quotas(2, 4) == (1, 1, 0, 0)


@pytest.mark.parametrize(("masked", "steps"), [(-1, 4), (4, 0)])
def test_impossible_schedules_are_refused(masked: int, steps: int) -> None:
    with pytest.raises(ValueError, match=f"{masked} masks in {steps} steps"):
        transfer_quotas(masked, steps)
