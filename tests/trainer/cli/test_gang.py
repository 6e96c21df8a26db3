import pytest
from torch.distributed.run import parse_args

from igpo_trainer.cli.gang import Gang
from igpo_trainer.spec.errors import InvalidRunError

POD = {
    "PET_NNODES": "2",
    "PET_NODE_RANK": "1",
    "PET_NPROC_PER_NODE": "8",
    "PET_MASTER_ADDR": "gsm8k-igpo-a1-0",
    "PET_MASTER_PORT": "29400",
    "IGPO_RUN_ID": "uid",
    "IGPO_ATTEMPT": "3",
}


def test_a_pod_is_read_from_its_environment():
    assert Gang.from_environment(POD) == Gang(8, 2, 1, "gsm8k-igpo-a1-0", 29400, "uid-3")


def test_an_empty_environment_is_one_process():
    assert Gang.from_environment({}) == Gang(processes=1, rendezvous_id="igpo-1")


def test_rendezvous_settings_of_the_environment_are_taken():
    gang = Gang.from_environment(POD | {"PET_RDZV_ID": "x", "PET_RDZV_CONF": "timeout=60"})
    assert (gang.rendezvous_id, gang.rendezvous_conf) == ("x", "timeout=60")


def test_torchrun_understands_the_arguments_of_a_pod(monkeypatch):
    monkeypatch.setenv("PET_MAX_RESTARTS", "5")
    gang = Gang.from_environment(POD | {"PET_RDZV_CONF": "timeout=60"})
    options = parse_args(gang.torchrun_arguments(["python", "-m", "worker", "--manifest", "x"], 120.0))
    assert (options.nnodes, options.node_rank, options.nproc_per_node) == ("2", 1, "8")
    assert (options.rdzv_backend, options.rdzv_id, options.rdzv_conf) == ("static", "uid-3", "timeout=60")
    assert (options.master_addr, options.master_port) == ("gsm8k-igpo-a1-0", 29400)
    assert (options.max_restarts, options.shutdown_timeout, options.no_python) == (0, 115, True)
    assert [options.training_script, *options.training_script_args] == ["python", "-m", "worker", "--manifest", "x"]


def test_a_single_node_needs_no_address_and_uses_none():
    assert Gang.from_environment(POD | {"PET_NNODES": "1", "PET_NODE_RANK": "0"}).master_addr is None
    options = parse_args(Gang(processes=2).torchrun_arguments(["worker"], 30.0))
    assert (options.standalone, options.nnodes, options.local_addr) == (True, "1", "127.0.0.1")


@pytest.mark.parametrize(("grace", "timeout"), [(30.0, 25), (5.0, 1), (0.0, 1), (600.9, 595)])
def test_ranks_have_the_grace_period_less_five_seconds(grace, timeout):
    assert parse_args(Gang().torchrun_arguments(["worker"], grace)).shutdown_timeout == timeout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PET_NNODES": "1:4"}, "PET_NNODES is '1:4', not a whole number of at least 1"),
        ({"PET_NPROC_PER_NODE": "gpu"}, "PET_NPROC_PER_NODE is 'gpu'"),
        ({"PET_NPROC_PER_NODE": "0"}, "PET_NPROC_PER_NODE is '0'"),
        ({"PET_NODE_RANK": "2"}, "PET_NODE_RANK is 2, but PET_NNODES is 2"),
        ({"PET_MASTER_ADDR": ""}, "PET_MASTER_ADDR is missing"),
        ({"PET_RDZV_BACKEND": "c10d"}, "PET_RDZV_BACKEND is c10d"),
    ],
)
def test_a_wrong_environment_names_the_variable(change, message):
    with pytest.raises(InvalidRunError, match=message):
        Gang.from_environment(POD | change)
