import pytest

from igpo_trainer.loop.peer_lost import is_peer_lost


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (
            RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]"),
            True,
        ),
        (RuntimeError("[enforce fail at gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 60000ms"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ConnectionResetError("Connection reset by peer"), False),
        (ValueError("Connection closed by peer"), False),
    ],
)
def test_a_lost_peer_is_told_from_a_failure_of_ones_own(error, lost):
    assert is_peer_lost(error) is lost


def test_errors_of_torch_distributed_are_lost_peers():
    from torch.distributed import DistBackendError, DistNetworkError

    assert is_peer_lost(DistBackendError("NCCL error: remote process exited"))
    assert is_peer_lost(DistNetworkError("Failed to recv, got 0 bytes. Connection was likely closed"))
