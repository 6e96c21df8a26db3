import json

import pytest
import typer
from typer.testing import CliRunner

from igpo_trainer.cli.schema import schema
from igpo_trainer.spec.document import KINDS
from igpo_trainer.spec.json_schema import document_schema, manifest_schema


@pytest.fixture
def invoke():
    app = typer.Typer()
    app.command()(schema)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_the_schema_of_a_document_of_any_kind_is_printed(invoke):
    assert json.loads(invoke().stdout) == manifest_schema()


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_of_one_kind_is_printed(invoke, kind):
    assert json.loads(invoke("--kind", kind).stdout) == document_schema(kind)


def test_an_unknown_kind_is_refused_with_the_known_ones(invoke):
    result = invoke("--kind", "Job")
    assert result.exit_code == 2
    assert "LengthAlignedSFT" in result.output
