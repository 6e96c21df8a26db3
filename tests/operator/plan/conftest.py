"""Lives are long and their manifests few: each is written as YAML once."""

import json

import pytest

from igpo_operator.render import manifest


@pytest.fixture(autouse=True, scope="session")
def _yaml_is_written_once():
    written, write = {}, manifest.write_document

    def once(document):
        key = json.dumps(document)
        if key not in written:
            written[key] = write(document)
        return written[key]

    manifest.write_document = once
    yield
    manifest.write_document = write
