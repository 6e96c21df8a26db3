import pytest
import torch

from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.keyed_dropout import KeyedDropout, keyed_dropout

SHARE, WIDTH, FEATURES = 0.25, 40, 50


def streams(rows):
    return [NoiseKey(3, "dropout", 1, row, 0) for row in rows]


def dropped(module, rows, lengths, width=WIDTH):
    """Ones after dropout."""
    with keyed_dropout(module, streams(rows), lengths):
        return module(torch.ones(len(rows), width, FEATURES, dtype=torch.float64))


def test_the_given_share_is_dropped_and_the_rest_scaled_up():
    out_BSD = dropped(KeyedDropout(SHARE, 0).train(), [0, 1], [WIDTH, WIDTH])
    assert set(out_BSD.unique().tolist()) == {0.0, 1.0 / (1.0 - SHARE)}
    assert float((out_BSD == 0).double().mean()) == pytest.approx(SHARE, abs=0.03)


def test_a_row_drops_the_same_in_any_batch_and_behind_any_padding():
    module = KeyedDropout(SHARE, 0).train()
    alone = dropped(module, [7], [30], width=30)[0]
    among = dropped(module, [2, 7, 5], [40, 30, 10])
    assert torch.equal(among[1, 10:], alone)
    assert bool((among[1, :10] == 1.0).all())
    assert not torch.equal(among[2, 30:], alone[20:])


def test_rows_steps_and_modules_drop_differently():
    first, second = (KeyedDropout(SHARE, index).train() for index in (0, 1))
    both = dropped(first, [0, 1], [WIDTH, WIDTH])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, dropped(second, [0, 1], [WIDTH, WIDTH]))


def test_nothing_is_dropped_in_eval_mode():
    x_BSD = torch.randn(1, 4, 3)
    assert torch.equal(KeyedDropout(SHARE, 0).eval()(x_BSD), x_BSD)


def test_gradients_are_dropped_with_what_they_belong_to():
    module = KeyedDropout(SHARE, 0).train()
    x_BSD = torch.ones(1, WIDTH, FEATURES, requires_grad=True)
    with keyed_dropout(module, streams([0]), [WIDTH]):
        out_BSD = module(x_BSD)
        out_BSD.sum().backward()
    assert torch.equal(x_BSD.grad, out_BSD.detach())


def test_training_without_streams_is_refused():
    module = KeyedDropout(SHARE, 0).train()
    with pytest.raises(RuntimeError, match="0 streams for 2 rows"):
        module(torch.ones(2, 4, 3))
