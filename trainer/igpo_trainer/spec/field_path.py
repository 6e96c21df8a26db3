"""Walking the spec models by the names that stand in YAML."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from igpo_trainer.spec.base import SpecModel
from igpo_trainer.spec.yaml_document import FieldPath


def yaml_names(model: type[SpecModel]) -> list[str]:
    """Names of a model's fields as written in YAML, in order of declaration."""
    return [field.alias or name for name, field in model.model_fields.items()]


def model_at(root: type[SpecModel], path: FieldPath) -> type[SpecModel] | None:
    """Find the model that describes the object at path; None where no model does (free-form maps, plain values)."""
    model: type[SpecModel] | None = root
    for step in path:
        if isinstance(step, int):
            continue  # a list of models: the list's field has already led to the model
        if model is None:
            return None
        annotation = next(
            (field.annotation for name, field in model.model_fields.items() if (field.alias or name) == step), None
        )
        model = next(models_in(annotation), None)
    return model


def models_in(annotation: object) -> Iterator[type[SpecModel]]:
    """Yield every spec model that an annotation mentions: X, X | None, tuple[X, ...]."""
    if isinstance(annotation, type) and issubclass(annotation, SpecModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, tuple, list, Annotated):
        for part in get_args(annotation):
            yield from models_in(part)
