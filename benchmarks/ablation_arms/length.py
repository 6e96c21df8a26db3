"""Tokens that go through the network, of traces cut to the RL canvas and of originals on a longer one."""

from igpo_trainer.data.encode import encode_all
from igpo_trainer.data.readers import load_split
from igpo_trainer.models.scratch import word_tokenizer
from igpo_trainer.spec.sft import LengthAlignedSFTSpec


def rows_network_tokens(spec: LengthAlignedSFTSpec, context_tokens: int, seed: int) -> tuple[float, float]:
    """(rewritten, originals): mean prompt and canvas tokens of a training row.

    A rewrite fits `length.target`, so its canvas is that; so is that of an original which fits. A longer original has
    a canvas of `context_tokens`.
    """
    problems = load_split(spec.dataset, spec.prompt, seed=seed).train
    target = spec.length.target
    rows, _ = encode_all(
        problems, word_tokenizer(), spec.prompt, spec.dataset, completion_length=target, long_traces="Count"
    )
    prompt = sum(len(row.prompt_ids) for row in rows) / len(rows)
    overlong = sum(len(row.trace_ids) >= target for row in rows) / len(rows)
    return prompt + target, prompt + target + overlong * (context_tokens - target)
