import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.loop.tensor_parts import Part, StoredTensors
from igpo_trainer.spec.errors import InvalidRunError

TENSORS = {
    "wide": torch.arange(15.0).view(5, 3),
    "long": torch.arange(9.0, dtype=torch.float64),
    "short": torch.ones(1, 2),
    "step": torch.tensor(7.0),
}


def write(path, count):
    for index in range(count):
        part = Part(index, count)
        rows = {name: value[part.rows(len(value))] if value.dim() else value for name, value in TENSORS.items()}
        part.write(path, rows, {"updates": "3"})


@given(st.integers(0, 40), st.integers(1, 9))
def test_the_rows_of_all_parts_are_those_of_torch_chunk(total, count):
    parts = [Part(index, count).rows(total) for index in range(count)]
    assert [row for rows in parts for row in range(total)[rows]] == list(range(total))
    chunks = [len(chunk) for chunk in torch.arange(total).chunk(count)] if total else []
    assert [rows.stop - rows.start for rows in parts] == chunks + [0] * (count - len(chunks))


@pytest.mark.parametrize("saved", [1, 2, 4, 7])
@pytest.mark.parametrize("read", [1, 2, 3, 7])
def test_what_any_number_of_processes_saved_any_number_reads(tmp_path, saved, read):
    path = tmp_path / "weights.safetensors"
    write(path, saved)
    with StoredTensors(path) as stored:
        assert set(stored.names) == set(TENSORS)
        assert stored.metadata == {"updates": "3"}
        for name, expected in TENSORS.items():
            assert stored.shape(name) == tuple(expected.shape)
            parts = [stored.read(name, Part(index, read)) for index in range(read)]
            whole = torch.cat(parts) if expected.dim() else parts[-1]
            assert torch.equal(whole, expected)
            assert whole.dtype == expected.dtype


def test_one_process_writes_one_plain_file_and_several_number_theirs(tmp_path):
    write(tmp_path / "weights.safetensors", 1)
    write(tmp_path / "optimizer.safetensors", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "optimizer-00001-of-00002.safetensors",
        "optimizer-00002-of-00002.safetensors",
        "weights.safetensors",
    ]


def test_a_missing_part_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(InvalidRunError, match=r"weights\.safetensors: 0 of 1 files are there"):
        StoredTensors(path)
    write(path, 3)
    (tmp_path / "weights-00002-of-00003.safetensors").unlink()
    with pytest.raises(InvalidRunError, match="2 of 3 files are there; remove the folder to resume from an earlier"):
        StoredTensors(path)
