import pytest
import torch
from safetensors import safe_open

from igpo_trainer.models.tensor_file import write_tensors


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o755, 0o644), (0o700, 0o600), (0o775, 0o664)])
def test_whoever_may_read_the_folder_may_read_the_tensors(tmp_path, folder_mode, file_mode):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(folder_mode)
    write_tensors(folder / "x.safetensors", {"a": torch.arange(3)}, {"updates": "7"})
    assert (folder / "x.safetensors").stat().st_mode & 0o777 == file_mode
    with safe_open(folder / "x.safetensors", "pt") as file:
        assert file.metadata() == {"updates": "7"}
        assert torch.equal(file.get_tensor("a"), torch.arange(3))
