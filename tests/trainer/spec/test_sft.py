import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.spec.sft import LengthSpec


@given(st.integers(0, 80), st.integers(1, 60), st.integers(0, 10))
def test_a_trace_gets_the_shortest_canvas_that_holds_it_and_its_end_token(trace, target, longer):
    drop = LengthSpec(target=target, context_tokens=1)
    context = LengthSpec(target=target, originals="Context", context_tokens=target + longer)
    assert drop.canvas(trace) == (target if trace + 1 <= target else None)
    beyond = target + longer if trace + 1 <= target + longer else None
    assert context.canvas(trace) == (target if trace + 1 <= target else beyond)
    assert (drop.longest, context.longest) == (target, target + longer)


@pytest.mark.parametrize("tokens", [1, 255])
def test_only_originals_at_their_context_need_one_that_holds_the_target(tokens):
    assert LengthSpec(target=256, context_tokens=tokens).longest == 256
    with pytest.raises(ValueError, match=f"contextTokens {tokens} is below target 256; raise it to 256 or more"):
        LengthSpec(target=256, originals="Context", context_tokens=tokens)
