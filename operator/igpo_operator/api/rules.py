"""CEL rules: what the API server checks beyond the schema. Each is the twin of a pydantic validator.

A message is read after the field's path and value, so it says what is wrong and what to do.
"""

from typing import Final

from pydantic import BaseModel

from igpo_operator.api import (
    cluster,
    environment,
    run_policy,
    scheduling,
    security,
    selection,
    storage,
    volumes,
    workers,
)
from igpo_operator.api.rule import Rule, exactly_one
from igpo_operator.api.volumes import VOLUME_SOURCES
from igpo_trainer.spec import contract, dataset, igpo, model, run, sampling, sft


def rules_of(model: type[BaseModel]) -> list[Rule]:
    """Rules of one model and of those that it extends."""
    return [rule for ancestor in reversed(model.__mro__) for rule in RULES.get(ancestor, ())]


def _starts_with_any(value: str, prefixes: tuple[str, ...]) -> str:
    return " || ".join(f"{value}.startsWith('{prefix}')" for prefix in prefixes)


_ORDERED: Final = Rule("self.min <= self.max", "is above max; swap min and max", ".min")
_LABEL_VALUES: Final = Rule(
    "(self.operator in ['In', 'NotIn']) == (size(self.?values.orValue([])) > 0)",
    "belongs to the operators In and NotIn, which need at least one value; add it or remove it",
    ".values",
)
_NODE_VALUES: Final = Rule(
    "(self.operator in ['Exists', 'DoesNotExist']) != (size(self.?values.orValue([])) > 0)",
    "belongs to the operators In, NotIn, Gt and Lt; add it or remove it",
    ".values",
)
_NODE_BOUND: Final = Rule(
    "!(self.operator in ['Gt', 'Lt']) || !has(self.values) || size(self.values) == 0 || "
    "(size(self.values) == 1 && self.values[0].matches('^-?[0-9]+$'))",
    "of the operators Gt and Lt is exactly one whole number; keep one",
    ".values",
)
_RESERVED_VARIABLES: Final = ", ".join(f"'{name}'" for name in sorted(contract.RESERVED_VARIABLES))
_RESERVED_KEYS: Final = " and ".join(contract.RESERVED_KEY_PREFIXES)
_FREE_KEYS: Final = f"!({_starts_with_any('key', contract.RESERVED_KEY_PREFIXES)})"


def _canvas_rules(canvas: str) -> tuple[Rule, Rule]:
    """A scratch model has room for a prompt beside the longest canvas."""
    scratch = "self.model.scratch.maxPositions"
    return (
        Rule(
            f"!has(self.model.scratch) || {scratch} > {canvas}",
            "leaves no room for a prompt beside the canvas; raise it to the canvas plus dataset.maxPromptTokens",
            ".model.scratch.maxPositions",
        ),
        Rule(
            f"!has(self.model.scratch) || {scratch} <= {canvas} || "
            f"self.dataset.maxPromptTokens + {canvas} <= {scratch}",
            "and the canvas exceed model.scratch.maxPositions; lower it to maxPositions minus the canvas, or raise "
            "maxPositions",
            ".dataset.maxPromptTokens",
        ),
    )


_TRAINER: Final[dict[type[BaseModel], tuple[Rule, ...]]] = {
    igpo.ChunkTokens: (_ORDERED,),
    igpo.InjectionRatio: (_ORDERED,),
    dataset.WordProblems: (
        Rule(
            "self.difficulties.all(a, self.difficulties.exists_one(b, b.steps == a.steps))",
            "repeats steps; name each number of steps once",
            ".difficulties",
        ),
        Rule(
            "self.difficulties.exists(difficulty, difficulty.share > 0.0)",
            "has only shares of 0; give at least one a positive share",
            ".difficulties",
        ),
    ),
    dataset.DatasetSpec: (
        Rule(
            f"!has(self.wordProblems) || self.source == '{dataset.BUILTIN_WORD_PROBLEMS}'",
            f"belongs to source {dataset.BUILTIN_WORD_PROBLEMS}; remove it or set that source",
            ".wordProblems",
        ),
        Rule(
            "!has(self.format) || (self.fields.prompt == 'question' && self.fields.trace == 'answer' && "
            "!has(self.fields.answer) && !has(self.fields.difficulty) && !has(self.answer.after))",
            dataset.OWN_COLUMNS,
            ".format",
        ),
    ),
    dataset.PromptSpec: (
        Rule(
            f"!has(self.traceFormat) || self.traceFormat.matches(r'{dataset.TRACE_FORMAT}')",
            "cannot be filled; use {body} and {answer}, and double every literal brace",
            ".traceFormat",
        ),
        Rule(
            "!has(self.traceFormat) || self.traceFormat.replace('{{', '').replace('}}', '').contains('{body}')",
            "has no {body}; add it where the trace belongs",
            ".traceFormat",
        ),
    ),
    model.ScratchModel: (
        Rule(
            "self.hiddenSize % self.heads == 0 && (self.hiddenSize / self.heads) % 2 == 0",
            "over heads is not an even head width; choose sizes where hiddenSize / heads is an even whole number",
            ".hiddenSize",
        ),
    ),
    model.ModelSpec: (
        exactly_one("source", "scratch", "from"),
        Rule(
            "has(self.source) || !(has(self.revision) || has(self.adapt))",
            "revision and adapt belong to source; remove them or set model.source",
        ),
        Rule(
            f"!has(self.source) || !self.source.endsWith('{model.GGUF_SUFFIX}') || has(self.adapt)",
            "holds a causal model; set adapt to MaskedDiffusion",
            ".source",
        ),
    ),
    sampling.SamplingSpec: (
        Rule(
            "self.completionLength % self.blockLength == 0",
            "does not divide completionLength; choose a divisor",
            ".blockLength",
        ),
        Rule(
            "self.completionLength % self.blockLength != 0 || (self.steps <= self.completionLength && "
            "self.steps % (self.completionLength / self.blockLength) == 0)",
            "must be a multiple of the number of blocks (completionLength / blockLength) and at most completionLength; "
            "set such a number",
            ".steps",
        ),
        Rule(
            "!has(self.confidenceThreshold) || self.remasking == 'LowConfidence'",
            "has no meaning without remasking LowConfidence; remove it or set that",
            ".confidenceThreshold",
        ),
    ),
    run.OptimizerSpec: (
        Rule("self.betas.all(beta, beta >= 0.0 && beta < 1.0)", "must both lie in [0, 1); correct them", ".betas"),
    ),
    run.EvaluationSet: (
        Rule("!has(self.format) || !(has(self.fields) || has(self.answer))", dataset.OWN_COLUMNS, ".format"),
    ),
    run.RunSpec: (
        Rule(
            f"self.evaluation.datasets.exists(set, set.source == '{run.HOLDOUT}')",
            "lacks holdout, by which the best checkpoint is chosen; add {source: holdout}",
            ".evaluation.datasets",
        ),
    ),
    sft.LengthSpec: (
        Rule(
            "self.originals != 'Context' || self.contextTokens >= self.target",
            "is below target; raise it to target or more",
            ".contextTokens",
        ),
    ),
    sft.TrainingSpec: (exactly_one("epochs", "steps"),),
    igpo.IGPOTrainingSpec: (
        Rule(
            "self.sampling.temperature != 0.0",
            "gives G equal rollouts; RL needs a temperature above 0",
            ".sampling.temperature",
        ),
        Rule(
            "self.sampling.cfgScale == 0.0",
            "samples from another policy than the one trained; set it to 0",
            ".sampling.cfgScale",
        ),
        Rule(
            "!has(self.model.lora) || self.model.lora.dropout == 0.0",
            "makes the importance ratio random; RL needs 0",
            ".model.lora.dropout",
        ),
        *_canvas_rules("self.sampling.completionLength"),
    ),
    sft.LengthAlignedSFTSpec: (
        Rule(
            "self.sampling.completionLength == self.length.target",
            "differs from length.target; SFT, RL and evaluation share one canvas length, set both to it",
            ".sampling.completionLength",
        ),
        Rule(
            "!has(self.rewrite) || self.length.originals != 'Context'",
            "trains the traces as they are, rewrite replaces them; set it to Drop or remove rewrite",
            ".length.originals",
        ),
        *_canvas_rules(
            "(self.length.originals == 'Context' ? self.length.contextTokens : self.sampling.completionLength)"
        ),
    ),
}

_PODS: Final[dict[type[BaseModel], tuple[Rule, ...]]] = {
    selection.LabelRequirement: (_LABEL_VALUES,),
    selection.NodeRequirement: (_NODE_VALUES, _NODE_BOUND),
    scheduling.Toleration: (
        Rule(
            "has(self.key) || self.?operator.orValue('') == 'Exists'",
            "operator must be Exists where key is absent; set operator: Exists or add a key",
        ),
        Rule(
            "self.?operator.orValue('') != 'Exists' || self.?value.orValue('') == ''",
            "has no meaning with operator Exists; remove one of them",
            ".value",
        ),
        Rule(
            "!has(self.tolerationSeconds) || self.?effect.orValue('') == 'NoExecute'",
            "belongs to effect NoExecute; set that effect or remove it",
            ".tolerationSeconds",
        ),
    ),
    scheduling.TopologySpread: (
        Rule(
            "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
            "needs whenUnsatisfiable: DoNotSchedule; set it or remove minDomains",
            ".minDomains",
        ),
    ),
    environment.VariableSource: (exactly_one("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"),),
    environment.Variable: (
        Rule(
            f"!(self.name in [{_RESERVED_VARIABLES}] || "
            f"{_starts_with_any('self.name', contract.RESERVED_VARIABLE_PREFIXES)})",
            "is set by the operator; remove it",
            ".name",
        ),
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "value and valueFrom exclude each other; keep one of them",
        ),
    ),
    environment.EnvFrom: (exactly_one("configMapRef", "secretRef"),),
    volumes.DownwardFile: (
        exactly_one("fieldRef", "resourceFieldRef"),
        Rule(
            "!has(self.resourceFieldRef) || has(self.resourceFieldRef.containerName)",
            "needs a containerName in a volume; add containerName: trainer",
            ".resourceFieldRef",
        ),
    ),
    volumes.ProjectedSource: (exactly_one("secret", "configMap", "downwardAPI", "serviceAccountToken"),),
    volumes.Volume: (
        Rule(
            f"!self.name.startsWith('{contract.RESERVED_VOLUME_PREFIX}')",
            f"begins with {contract.RESERVED_VOLUME_PREFIX}, as the operator's own; rename it",
            ".name",
        ),
        exactly_one(*VOLUME_SOURCES),
    ),
    volumes.VolumeMount: (
        Rule(
            f"![{', '.join(repr(path) for path in contract.RESERVED_MOUNT_PATHS)}]"
            ".exists(path, (self.mountPath + '/').startsWith(path + '/'))",
            f"lies in {', '.join(contract.RESERVED_MOUNT_PATHS)}, the operator's own; choose another",
            ".mountPath",
        ),
    ),
    security.SecurityProfile: (
        Rule(
            "(self.type == 'Localhost') == has(self.localhostProfile)",
            "localhostProfile belongs to type Localhost, which needs it; add it or remove it",
        ),
    ),
    security.Identity: (
        Rule(
            "!(has(self.runAsUser) && self.runAsUser == 0 && has(self.runAsNonRoot) && self.runAsNonRoot)",
            "0 is root, which runAsNonRoot refuses; remove one of them",
            ".runAsUser",
        ),
    ),
    security.SecurityContext: (
        Rule(
            "!(has(self.privileged) && self.privileged && has(self.allowPrivilegeEscalation) && "
            "!self.allowPrivilegeEscalation)",
            "false excludes privileged; remove one of them",
            ".allowPrivilegeEscalation",
        ),
    ),
    workers.Resources: (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
            "!quantity(string(self.requests[name])).isGreaterThan(quantity(string(self.limits[name]))))",
            "are above a limit; lower them or raise the limit",
            ".requests",
        ),
    ),
    workers.Workers: (
        Rule(
            f"!('{workers.GPU_RESOURCE}' in self.?extraResources.orValue({{}}))",
            f"has {workers.GPU_RESOURCE}; set workers.gpusPerWorker instead",
            ".extraResources",
        ),
        *(
            Rule(
                f"!has(self.{name}) || self.{name}.all(key, {_FREE_KEYS})",
                f"has a key of {_RESERVED_KEYS}, which are the operator's; remove it",
                f".{name}",
            )
            for name in ("labels", "annotations")
        ),
        Rule(
            "!has(self.volumeMounts) || self.volumeMounts.all(mount, "
            "has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))",
            "names a volume that workers.volumes lacks; add the volume",
            ".volumeMounts",
        ),
    ),
    storage.Storage: (
        Rule(
            "!has(self.claimName) || !(has(self.size) || has(self.storageClassName) || has(self.accessModes))",
            "uses a claim that exists; remove size, storageClassName and accessModes, or remove claimName",
            ".claimName",
        ),
        Rule(
            "!(has(self.claimName) && self.retainPolicy == 'Delete')",
            "Delete is for claims that the operator made; set Retain or remove claimName",
            ".retainPolicy",
        ),
        Rule(
            "!has(self.accessModes) || size(self.accessModes) <= 1 || !('ReadWriteOncePod' in self.accessModes)",
            "has ReadWriteOncePod, which excludes all others; keep one of them",
            ".accessModes",
        ),
        Rule(
            "!has(self.size) || string(self.size).matches(r'^[0.]*[1-9]')",
            "is no room at all; set an amount such as 200Gi",
            ".size",
        ),
    ),
    run_policy.RunPolicy: (
        Rule(
            "self.workloadPriorityClassName == '' || self.queueName != ''",
            "belongs to Kueue; set queueName as well or remove it",
            ".workloadPriorityClassName",
        ),
    ),
    cluster.ClusterSpec: (
        Rule(
            "self.workers.replicas <= 1 || has(self.storage.claimName) || "
            "(has(self.storage.accessModes) && 'ReadWriteMany' in self.storage.accessModes)",
            "above 1 needs a volume that several nodes can write; set storage.accessModes: [ReadWriteMany] (and a "
            "class that offers it) or storage.claimName",
            ".workers.replicas",
        ),
    ),
}

RULES: Final = _TRAINER | _PODS
"""Rules by the model whose object they look at."""

LIST_KEYS: Final = {
    ("Workers", "env"): ["name"],
    ("Workers", "volumes"): ["name"],
    ("Workers", "volumeMounts"): ["mountPath"],
    ("Workers", "imagePullSecrets"): ["name"],
    ("Workers", "topologySpreadConstraints"): ["topologyKey", "whenUnsatisfiable"],
    ("RunStatus", "conditions"): ["type"],
}
"""Lists whose items are told apart by these fields: no two may agree in all, and appliers may share the list."""
