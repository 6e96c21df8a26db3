"""Environment of the trainer container beside what the operator sets, with the Kubernetes names."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.formats import POD_FIELD, VARIABLE_PREFIX, ConfigKey, ObjectName, VariableName
from igpo_trainer.spec.base import SpecModel
from igpo_trainer.spec.contract import RESERVED_VARIABLE_PREFIXES, RESERVED_VARIABLES


def is_reserved(variable: str) -> bool:
    """Whether the operator sets this variable itself."""
    return variable in RESERVED_VARIABLES or variable.startswith(RESERVED_VARIABLE_PREFIXES)


class KeyRef(SpecModel):
    """One key of a Secret or ConfigMap in the run's namespace."""

    name: ObjectName = Field(description="Name of the Secret or ConfigMap.")
    key: ConfigKey = Field(description="Key in its data.")
    optional: bool | None = Field(default=None, description="True: the pod starts without it.")


class FieldRef(SpecModel):
    """A field of the pod itself."""

    field_path: Annotated[str, Field(min_length=1, max_length=384, pattern=POD_FIELD)] = Field(
        description="Path of the field, for example metadata.name or status.hostIP."
    )
    api_version: Literal["v1"] | None = Field(default=None, description="API version of the path.")


class ResourceFieldRef(SpecModel):
    """A request or limit of the container itself."""

    resource: Literal[
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
    ] = Field(description="Name of the request or limit.")
    container_name: Literal["trainer"] | None = Field(
        default=None, description="Container that is meant; needed in volumes."
    )
    divisor: Literal["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"] | None = Field(
        default=None, description="Unit of the result; absent: 1, where cores are rounded up."
    )


class VariableSource(SpecModel):
    """Where a variable's value comes from: exactly one of these."""

    secret_key_ref: KeyRef | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="A key of a ConfigMap.")
    field_ref: FieldRef | None = Field(default=None, description="A field of the pod.")
    resource_field_ref: ResourceFieldRef | None = Field(default=None, description="A request or limit.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = (self.secret_key_ref, self.config_map_key_ref, self.field_ref, self.resource_field_ref)
        if sum(source is not None for source in given) != 1:
            raise ValueError(
                "exactly one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef must be set; keep one"
            )
        return self


class Variable(SpecModel):
    """One environment variable."""

    name: VariableName = Field(description="Name of the variable; those that the operator sets are refused.")
    value: str | None = Field(default=None, max_length=32768, description="Value of the variable.")
    value_from: VariableSource | None = Field(default=None, description="Source of the value, instead of value.")

    @model_validator(mode="after")
    def _free_and_one_value(self) -> Self:
        if is_reserved(self.name):
            raise ValueError(f"name {self.name} is set by the operator; remove it")
        if self.value is not None and self.value_from is not None:
            raise ValueError("value and valueFrom exclude each other; keep one of them")
        return self


class EnvSource(SpecModel):
    """A Secret or ConfigMap whose keys all become variables."""

    name: ObjectName = Field(description="Name of the Secret or ConfigMap.")
    optional: bool | None = Field(default=None, description="True: the pod starts without it.")


class EnvFrom(SpecModel):
    """Variables from exactly one Secret or ConfigMap. What the operator and env set wins over them."""

    prefix: Annotated[str, Field(max_length=256, pattern=VARIABLE_PREFIX)] | None = Field(
        default=None, description="Text before every variable's name."
    )
    config_map_ref: EnvSource | None = Field(default=None, description="A ConfigMap in the run's namespace.")
    secret_ref: EnvSource | None = Field(default=None, description="A Secret in the run's namespace.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.config_map_ref is None) == (self.secret_ref is None):
            raise ValueError("exactly one of configMapRef and secretRef must be set; keep one")
        return self
