import textwrap

import pytest

from igpo_trainer.spec.contract import ExitCode
from igpo_trainer.spec.manifest import ManifestError, load_manifest


@pytest.fixture
def load(tmp_path):
    def load_text(*documents):
        path = tmp_path / "run.yaml"
        path.write_text("---\n".join(documents), encoding="utf-8")
        return load_manifest(path)

    return load_text


@pytest.fixture
def problems(load, tmp_path):
    def problems_of(*documents):
        with pytest.raises(ManifestError) as caught:
            load(*documents)
        assert caught.value.exit_code == ExitCode.INVALID_RUN == 64
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]

    return problems_of


@pytest.fixture
def spec_problems(problems):
    """Problems of one RL document whose spec is the given YAML; its first line is line 5 of the file."""

    def problems_of(spec, kind="IGPOTraining"):
        head = f"apiVersion: igpo.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n"
        return problems(head + textwrap.indent(textwrap.dedent(spec), "  "))

    return problems_of
