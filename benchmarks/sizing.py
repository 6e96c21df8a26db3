"""How much memory and disk a run takes, term by term, from the shape of its model. An estimate: nothing is measured.

Parameters are counted on the real classes, without weights. What is kept of them, and in which precision, is what
`models/load.py`, `models/lora.py`, `loop/policy.py` and `models/save.py` do. `docs/sizing.md` holds the table that
`--page docs/sizing.md` writes into it.
"""

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accelerate.big_modeling import init_empty_weights
from transformers import LlamaConfig, LlamaForCausalLM

from igpo_trainer.loop.batching import MEMORY_SHARE
from igpo_trainer.models.head import CHUNK_BYTES
from igpo_trainer.models.llada import llama_config
from igpo_trainer.models.lora import ADAPTED_LINEARS
from igpo_trainer.models.weights import SHARD_BYTES

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
HALF, FULL = 2, 4
"""Bytes of a number in bf16 and in fp32."""
CONTEXT_BYTES = 1.5 * GIB
"""What CUDA, its libraries and NCCL take of a GPU before any tensor: a guess."""
HOST_BYTES = 6 * GIB
"""Python, torch, tokenizer, data set and judges of a process: a guess."""
LLADA_8B = {
    "model_type": "llada", "d_model": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 32, "mlp_hidden_size": 12288,
    "vocab_size": 126464, "embedding_size": 126464, "max_sequence_length": 4096, "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5, "weight_tying": False, "activation_type": "silu", "block_type": "llama",
    "layer_norm_type": "rms", "rope": True, "eos_token_id": 126081, "pad_token_id": 126081, "mask_token_id": 126336,
}  # fmt: skip
"""config.json of GSAI-ML/LLaDA-8B-Instruct, as far as it is read."""
MARKS = ("<!-- benchmarks/sizing.py -->", "<!-- end -->")


@dataclass(frozen=True)
class Run:
    """What decides the size of a run."""

    weights: int
    """Parameters of the model."""
    trained: int
    """Parameters that are trained: all, or those of the adapters."""
    processes: int
    """GPUs of all pods."""
    kl: bool = True
    """Whether a reference policy is needed: objective.klCoefficient above 0."""
    kept: int = 3
    """Checkpoints on the volume: checkpoints.keepLast and keepBest."""

    @property
    def lora(self) -> bool:
        """Whether a frozen base is there beside what is trained."""
        return self.trained < self.weights

    @property
    def parts(self) -> int:
        """Among how many processes weights, gradients, Adam's moments and the reference are divided (FSDP2)."""
        return 1 if self.lora else self.processes

    def gpu(self, capacity: float) -> dict[str, float]:
        """Bytes of each term on each GPU of `capacity` bytes, at the highest point of a step (precision BF16)."""
        base = HALF * self.weights if self.lora else 0
        part = FULL * self.trained / self.parts
        reference = FULL * self.weights / self.parts if self.kl and not self.lora else 0
        whole = FULL * self.weights if self.parts > 1 else 0
        loaded = CONTEXT_BYTES + base + part + reference + whole
        return {
            "CUDA, libraries, NCCL (a guess)": CONTEXT_BYTES,
            "frozen base, bf16": base,
            "trained weights, fp32": part,
            "their bf16 copy for computing": 0 if self.parts > 1 else HALF * self.trained,
            "gradients, fp32": part,
            "their exchange buffers, LoRA on several GPUs": part if self.lora and self.processes > 1 else 0,
            "Adam's two moments, fp32": 2 * part,
            "reference policy, fp32 (klCoefficient > 0)": reference,
            "a whole copy to sample with, fp32 (all weights on several GPUs)": whole,
            "logits, in two chunks": 2 * CHUNK_BYTES,
            f"activations: {MEMORY_SHARE:.0%} of what is free once weights are loaded": max(
                0.0, MEMORY_SHARE * (capacity - loaded)
            ),
        }

    def host(self, processes: int) -> float:
        """Bytes of memory of a pod with `processes` of them: every one reads the model before its GPU has it."""
        stored = HALF if self.lora else FULL
        return processes * (stored * self.weights + HOST_BYTES) + 2 * SHARD_BYTES

    def volume(self) -> dict[str, float]:
        """Bytes of each term on the volume."""
        state = 3 * FULL * self.trained
        return {
            "the model from the hub, bf16": HALF * self.weights,
            f"{self.kept} checkpoints, and one being written": (self.kept + 1) * state,
            "`final/` and `best/`: whole models, fp32": 2 * FULL * self.weights,
        }


def parameters(config: LlamaConfig) -> int:
    """How many the model has."""
    with init_empty_weights():
        lm = LlamaForCausalLM(config)
    return sum(weight.numel() for weight in lm.parameters())


def adapter_parameters(config: LlamaConfig, rank: int) -> int:
    """How many adapters of `rank` on the seven linear layers of every block have."""
    with init_empty_weights():
        lm = LlamaForCausalLM(config)
    linears = [lm.get_submodule(name) for name, _ in lm.named_modules() if name.rpartition(".")[2] in ADAPTED_LINEARS]
    return sum(rank * (linear.in_features + linear.out_features) for linear in linears)


def page(config: LlamaConfig, rank: int, capacity: float, pods: int = 8) -> str:
    """The table of docs/sizing.md: adapters on 1, 8 and 16 GPUs, all weights on 1, 8 and 16."""
    weights, adapters = parameters(config), adapter_parameters(config, rank)
    runs = {
        "LoRA, 1 GPU": Run(weights, adapters, 1),
        f"LoRA, {pods} GPUs": Run(weights, adapters, pods),
        f"LoRA, 2 × {pods} GPUs": Run(weights, adapters, 2 * pods),
        "all weights, 1 GPU": Run(weights, weights, 1),
        f"all weights, {pods} GPUs": Run(weights, weights, pods),
        f"all weights, 2 × {pods} GPUs": Run(weights, weights, 2 * pods),
    }
    gpu = {name: run.gpu(capacity) for name, run in runs.items()}
    totals = {name: sum(terms.values()) for name, terms in gpu.items()}
    left = {name: capacity - total for name, total in totals.items()}
    host = {name: run.host(min(run.processes, pods)) for name, run in runs.items()}
    volume = {name: run.volume() for name, run in runs.items()}
    lines = [
        f"{weights:,} parameters; adapters of rank {rank}: {adapters:,}. GiB, of {capacity / GIB:.0f} GiB a GPU.",
        "",
        _row("each GPU", dict.fromkeys(runs, ""), title=runs),
        *(_row(term, {name: _gib(gpu[name][term]) for name in runs}) for term in next(iter(gpu.values()))),
        _row("**sum**", {name: f"**{_gib(total)}**" for name, total in totals.items()}),
        _row(
            "**left**", {name: f"**{_gib(rest)}**" if rest > 0 else "**does not fit**" for name, rest in left.items()}
        ),
        _row("*memory of a pod, while it loads*", {name: _gib(size) for name, size in host.items()}),
        *(
            _row(f"*volume:* {_term}", {n: _gib(volume[n][_term]) for n in runs})
            for _term in next(iter(volume.values()))
        ),
        _row("**volume, sum**", {name: f"**{_gib(sum(terms.values()))}**" for name, terms in volume.items()}),
    ]
    return "\n".join(lines)


def written(text: str, table: str) -> str:
    """`text` with `table` between the marks."""
    begin, end = map(re.escape, MARKS)
    return re.sub(f"(?<={begin}\n).*?(?={end})", lambda _: f"\n{table}\n\n", text, flags=re.DOTALL)


def _gib(size: float) -> str:
    return f"{size / GIB:.1f}" if size else "–"


def _row(term: str, cells: Mapping[str, str], title: Mapping[str, object] | None = None) -> str:
    if title is not None:
        names = " | ".join(title)
        return f"| {term} | {names} |\n|---|{'---|' * len(title)}"
    return f"| {term} | {' | '.join(cells.values())} |"


def main() -> None:
    """Read the command line; print the table, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="config.json of a LLaDA or Llama model [LLaDA-8B]")
    parser.add_argument("--rank", type=int, default=128, help="model.lora.rank [%(default)s]")
    parser.add_argument("--gpu-gib", type=float, default=79.0, help="memory of a GPU, in GiB [%(default)s: H100]")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs of a pod [%(default)s]")
    parser.add_argument("--page", type=Path, help="page whose table is written anew")
    options = parser.parse_args()
    raw = LLADA_8B if options.config is None else json.loads(options.config.read_text())
    known = raw.get("model_type") == "llada"
    config = llama_config(raw, "config.json") if known else LlamaConfig.from_dict(raw)
    table = page(config, options.rank, options.gpu_gib * GIB, options.gpus)
    if options.page is None:
        print(table)
    else:
        options.page.write_text(written(options.page.read_text(), table))


if __name__ == "__main__":
    main()
