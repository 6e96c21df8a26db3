"""What holds for every field of both kinds."""

import re
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest

from igpo_trainer.spec.document import KINDS
from igpo_trainer.spec.field_path import models_in

NUMBER_UNITS = re.compile(
    r"token|step|second|update|epoch|share|weight|number|heads|layers|features|positions|dropout|scale|temperature|"
    r"rate|norm|distance",
    re.IGNORECASE,
)


def fields_of(model, parent):
    for name, field in model.model_fields.items():
        path = f"{parent}.{field.alias or name}"
        yield path, field
        for nested in models_in(field.annotation):
            yield from fields_of(nested, path)


FIELDS = {path: field for kind, model in KINDS.items() for path, field in fields_of(model, kind)}


def scalar_types(annotation):
    origin = get_origin(annotation)
    if origin in (Union, UnionType, tuple, Annotated):
        return {kind for part in get_args(annotation) for kind in scalar_types(part)}
    return {annotation} if isinstance(annotation, type) and origin is None else set()


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_says_what_it_means(path):
    description = FIELDS[path].description or ""
    assert len(description) >= 15
    assert description.endswith(".")


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_has_a_default_or_is_required(path):
    field = FIELDS[path]
    assert field.is_required() != (field.default_factory is not None or "default" in field._attributes_set)


@pytest.mark.parametrize(
    "path", [path for path, field in FIELDS.items() if {int, float} & scalar_types(field.annotation)]
)
def test_a_number_names_its_unit_and_has_a_lower_limit(path):
    field = FIELDS[path]
    assert NUMBER_UNITS.search(field.description)
    assert path.endswith(".betas") or re.search(r"\b(ge|gt)=", repr((field.annotation, field.metadata)))


@pytest.mark.parametrize("path", [path for path, field in FIELDS.items() if str in scalar_types(field.annotation)])
def test_a_text_is_bounded(path):
    assert "max_length" in repr(FIELDS[path].metadata)


@pytest.mark.parametrize(
    "path", [path for path, field in FIELDS.items() if get_origin(field.annotation) in (tuple, dict)]
)
def test_a_list_or_map_is_bounded(path):
    assert path.endswith(".betas") or "max_length" in repr(FIELDS[path].metadata)


def enum_values(annotation):
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(value for part in get_args(annotation) for value in enum_values(part))


LOWER_CASE = {"tensorboard", "wandb", "mlflow", "holdout"}  # names that others gave


@pytest.mark.parametrize("path", [path for path, field in FIELDS.items() if enum_values(field.annotation)])
def test_values_to_choose_from_are_upper_camel_case(path):
    for value in enum_values(FIELDS[path].annotation):
        assert value in LOWER_CASE or re.fullmatch(r"[A-Z][A-Za-z0-9]*", value)


@pytest.mark.parametrize("path", FIELDS)
def test_durations_end_in_seconds_and_names_are_lower_camel_case(path):
    name = path.rpartition(".")[2]
    assert re.fullmatch(r"[a-z][A-Za-z0-9]*", name)
    assert ("in seconds" in FIELDS[path].description) == name.endswith("Seconds")
