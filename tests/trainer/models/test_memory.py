import pytest
import torch

from igpo_trainer.models.memory import available_bytes, container_bytes, is_out_of_memory

V2 = {
    "memory.max": "1000000\n",
    "memory.current": "900000\n",
    "memory.stat": "anon 400000\nfile 500000\nshmem 100000\n",
}
V1 = {
    "memory.limit_in_bytes": "1000000",
    "memory.usage_in_bytes": "900000",
    "memory.stat": "cache 7\ntotal_cache 500000\ntotal_shmem 100000\n",
}


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(("files", "below"), [(V2, ""), (V1, "memory")])
def test_what_a_containers_limit_leaves_counts_the_page_cache_as_free(tmp_path, files, below):
    write(tmp_path / below, files)
    assert container_bytes(tmp_path) == 1_000_000 - 900_000 + 400_000


def test_a_container_without_a_limit_leaves_that_to_the_machine(tmp_path):
    assert container_bytes(tmp_path) is None
    write(tmp_path, V2 | {"memory.max": "max\n"})
    assert container_bytes(tmp_path) is None


def test_a_cpu_has_some_memory_left():
    assert 2**20 < available_bytes(torch.device("cpu")) < 2**60


def allocate_a_tensor():
    torch.empty(2**60)


def allocate_bytes():
    bytearray(2**62)


@pytest.mark.parametrize("allocate", [allocate_a_tensor, allocate_bytes])
def test_an_allocation_that_fails_is_recognised(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        allocate()
    assert is_out_of_memory(caught.value)


def test_a_gpus_error_is_recognised_by_its_class():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), ValueError("std::bad_alloc"), OSError(12, "no")]
)
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)
