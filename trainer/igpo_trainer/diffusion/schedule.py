"""How many positions of a block are kept in each denoising step."""

from functools import lru_cache


@lru_cache(maxsize=4096)
def transfer_quotas(masked: int, steps: int) -> tuple[int, ...]:
    """Quota of each of `steps` denoising steps for a block with `masked` masks (LLaDA, get_num_transfer_tokens).

    masked // steps a step, the remainder one each on the first steps; they sum to `masked` and never rise, so steps
    without a quota are the last ones.
    """
    if masked < 0 or steps < 1:
        raise ValueError(f"{masked} masks in {steps} steps: need masks ≥ 0 and steps ≥ 1")
    quota, remainder = divmod(masked, steps)
    return (quota + 1,) * remainder + (quota,) * (steps - remainder)
