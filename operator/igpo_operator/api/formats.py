"""Texts with a form: names, keys, paths and amounts, each pattern with the remedy a person reads when it does not fit.

Patterns are searched, so they carry their own anchors, and use only what Go's and Rust's regular expressions share.
"""

from typing import Annotated, Final

from pydantic import Field

from igpo_trainer.spec.contract import CONFIG_KEY, DNS_LABEL, DNS_SUBDOMAIN

QUALIFIED_NAME: Final = r"^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$"
VARIABLE_NAME: Final = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
VARIABLE_PREFIX: Final = r"^([-._a-zA-Z][-._a-zA-Z0-9]*)?$"
CONTAINER_RESOURCE: Final = r"^(cpu|memory|ephemeral-storage)$"
EXTENDED_RESOURCE: Final = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
_POD_LABEL: Final = r"metadata\.(labels|annotations)\['[^']+'\]"
POD_FIELD: Final = (
    rf"^(metadata\.(name|namespace|uid)|{_POD_LABEL}|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$"
)
POD_METADATA: Final = rf"^(metadata\.(name|namespace|uid|labels|annotations)|{_POD_LABEL})$"
QUANTITY: Final = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
# One part of a path: not . or .. , which would lead out of the folder, nor what begins with .. , which pods refuse.
_PART: Final = r"([^/:.][^/:]*|\.[^/:.][^/:]*)"
MOUNT_PATH: Final = rf"^(/{_PART})+$"
ABSOLUTE_PATH: Final = r"^/"
RELATIVE_PATH: Final = rf"^{_PART}(/{_PART})*$"
IMAGE: Final = r"^([A-Za-z0-9][-_.:/@A-Za-z0-9]*)?$"
OPTIONAL_LABEL: Final = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"
OPTIONAL_SUBDOMAIN: Final = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"

_LABEL_REMEDY: Final = "use lower-case letters, digits and -, with a letter or digit at both ends"
_SUBDOMAIN_REMEDY: Final = "use lower-case letters, digits, - and dots, with a letter or digit around every dot"
REMEDIES: Final = {
    DNS_LABEL: f"is not a DNS label; {_LABEL_REMEDY}",
    DNS_SUBDOMAIN: f"is not the name of an object; {_SUBDOMAIN_REMEDY}",
    QUALIFIED_NAME: "is not of the form name or example.com/name; use letters, digits, -, _ and dots, "
    "at most 63 after the slash",
    LABEL_VALUE: "is not a label's value; use at most 63 letters, digits, -, _ and dots",
    VARIABLE_NAME: "is not a variable's name; use letters, digits, -, _ and dots, and no digit first",
    VARIABLE_PREFIX: "is not a prefix of variables; use letters, digits, -, _ and dots, and no digit first",
    CONFIG_KEY: "is not a key of a Secret or ConfigMap; use letters, digits, -, _ and dots",
    CONTAINER_RESOURCE: "is not cpu, memory or ephemeral-storage; put GPUs into gpusPerWorker and what else a device "
    "plug-in offers into extraResources",
    EXTENDED_RESOURCE: "is not of the form example.com/name; put cpu, memory and ephemeral-storage into resources",
    POD_FIELD: "is not a field that a variable can show; choose metadata.name, metadata.namespace, metadata.uid, "
    "metadata.labels['key'], spec.nodeName, status.hostIP, status.podIP or one like it",
    POD_METADATA: "is not a field that a file can show; choose metadata.name, metadata.namespace, metadata.uid, "
    "metadata.labels or metadata.annotations",
    QUANTITY: "is not an amount; write a number with an optional unit, such as 500m, 4 or 200Gi",
    MOUNT_PATH: "is not an absolute path; start with /, without colons, doubled or trailing slashes, "
    "and without parts that are . or begin with two dots",
    ABSOLUTE_PATH: "is not an absolute path; start with /",
    RELATIVE_PATH: "is not a relative path; write it without colons, leading, doubled or trailing slashes, "
    "and without parts that are . or begin with two dots",
    IMAGE: "is not an image reference; write registry/name:tag or registry/name@sha256:digest",
    OPTIONAL_LABEL: f"is not a DNS label; {_LABEL_REMEDY}, or leave it empty",
    OPTIONAL_SUBDOMAIN: f"is not the name of an object; {_SUBDOMAIN_REMEDY}, or leave it empty",
}
"""What the API server says after the field's name; every pattern of the API has an entry."""

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
"""Name of a Secret, ConfigMap, claim, class or account."""
QualifiedName = Annotated[str, Field(min_length=1, max_length=317, pattern=QUALIFIED_NAME)]
"""Key of a label, annotation, taint or resource."""
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
VariableName = Annotated[str, Field(min_length=1, max_length=256, pattern=VARIABLE_NAME)]
ConfigKey = Annotated[str, Field(min_length=1, max_length=253, pattern=CONFIG_KEY)]
MountPath = Annotated[str, Field(min_length=2, max_length=512, pattern=MOUNT_PATH)]
RelativePath = Annotated[str, Field(min_length=1, max_length=256, pattern=RELATIVE_PATH)]

LARGEST_WHOLE: Final = 2**53 - 1
"""Largest whole number that every JSON reader keeps."""
Quantity = Annotated[int, Field(ge=0, le=LARGEST_WHOLE)] | Annotated[str, Field(max_length=32, pattern=QUANTITY)]
"""An amount as Kubernetes writes it: 4, 500m, 200Gi."""
FileMode = Annotated[int, Field(ge=0, le=0o777)]
UserId = Annotated[int, Field(ge=0, le=2**31 - 1)]
