"""Panels of ranks and GPUs. DCGM's exporter names the pod `pod`, or `exported_pod` where honorLabels is off."""

from typing import Final

from igpo_monitoring.panels import Looks, Panel, Query, lines
from igpo_monitoring.promql import LEGEND_KIND, last

_PODS: Final = '"($training)-(igpo|lasft)-a[0-9]+-[0-9]+"'
_SHORT_KINDS: Final = {"IGPOTraining": "igpo", "LengthAlignedSFT": "lasft"}
_OF_RANK: Final = 'rank=~"$rank"'


def _dcgm(name: str, factor: str = "") -> Query:
    """A DCGM field of the chosen runs' GPUs, with the labels of the run, which the pod's name holds."""
    plain = f'{name}{{namespace=~"$namespace", pod=~{_PODS}}}'
    exported = f'{name}{{exported_namespace=~"$namespace", exported_pod=~{_PODS}}}'
    renamed = f'label_replace({exported}, "pod", "$1", "exported_pod", "(.+)")'
    renamed = f'label_replace({renamed}, "namespace", "$1", "exported_namespace", "(.+)")'
    named = f'label_replace({renamed} or {plain}, "training", "$1", "pod", "(.+)-(?:igpo|lasft)-a[0-9]+-[0-9]+")'
    for kind, short in _SHORT_KINDS.items():
        named = f'label_replace({named}, "kind", "{kind}", "pod", ".+-{short}-a[0-9]+-[0-9]+")'
    return Query(f"max by (namespace, kind, training, pod, gpu) ({named}){factor}", "{{pod}} GPU {{gpu}}")


GPU_PANELS: Final[tuple[Panel, ...]] = (
    lines("Step time by rank", "The slowest rank sets the pace.",
          [Query(last("igpo_trainer_rank_step_duration_seconds", _OF_RANK, by="rank"), f"{LEGEND_KIND} {{{{rank}}}}")],
          Looks(unit="s", low=0, width=12)),
    lines("Peak memory by rank", "Highest allocation in the last step.",
          [Query(last("igpo_trainer_gpu_memory_peak_bytes", _OF_RANK, by="rank"), f"{LEGEND_KIND} {{{{rank}}}}")],
          Looks(unit="bytes", low=0, width=12)),
    lines("GPU utilisation", "Share of time with a kernel running.", [_dcgm("DCGM_FI_DEV_GPU_UTIL")],
          Looks(unit="percent", low=0, high=100)),
    lines("Tensor cores active", "Share of cycles with the tensor pipe busy; the honest measure of use.",
          [_dcgm("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE")], Looks(unit="percentunit", low=0, high=1)),
    lines("GPU memory", "Used frame buffer.", [_dcgm("DCGM_FI_DEV_FB_USED", " * 1048576")], Looks(unit="bytes", low=0)),
    lines("Power", "Draw of each GPU.", [_dcgm("DCGM_FI_DEV_POWER_USAGE")], Looks(unit="watt", low=0, width=12)),
    lines("XID errors", "Number of the last error that the driver reported; 0: none.",
          [_dcgm("DCGM_FI_DEV_XID_ERRORS")], Looks(unit="none", low=0, roof=1, decimals=0, width=12)),
)  # fmt: skip
