"""What every spec model shares: camelCase names in YAML, unknown fields refused, immutable once read."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class SpecModel(BaseModel):
    """One object of a manifest. Field names are snake_case here and camelCase in YAML."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
"""A share between 0 and 1, both included."""

LARGEST_COUNT: Final = 2**31 - 1
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
