"""Exact sampler against the plain one: the same tokens, in how much less time. Approximate ones beside them.

The plain sampler is LLaDA's published generate.py, batched: in every step it takes the logits of the whole sequence,
copies them to fp64, draws fp64 Gumbel noise for all of them, and runs every step of every row. The exact sampler is the
trainer's. Both use one randomly initialised bidirectional Llama, which never stops early: what an end token would save
on top is not part of the ratio. First both run once with fp64 weights and the same keyed fp64 noise, and their tokens
must be equal; then they are timed in turns with fp32 weights. The last line is plain time / exact time, with both in
fp64 noise, as `ratio: X.Y`.

The prefix and the dual cache are approximate: their line says how many tokens differ from the exact ones. With random
weights that says little about quality, so `--manifest FILE` measures accuracy instead of time alone: the evaluation
sets of the manifest's last run by each sampler, with the weights of `--model` (default: those its run in `--runs` ended
with).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from igpo_trainer.diffusion.canvas import CanvasRequest, Completion
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.sampler import ForwardCount, sample
from igpo_trainer.loop.measure import Subject, measure
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.spec.manifest import load_manifest
from igpo_trainer.spec.sampling import SamplingSpec

PAD, EOS, FIRST_WORD = 0, 1, 2
Uniform = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]  # (logits_BSV, active_BS, step) -> u_BSV in fp64


def full_logits(model: Denoiser, ids_BS: torch.Tensor, attention_BS: torch.Tensor) -> torch.Tensor:
    """Logits of all positions, as the plain sampler takes them."""
    position_ids_BS = (attention_BS.cumsum(-1) - 1).clamp(min=0)
    return model.lm(ids_BS, attention_mask=attention_BS, position_ids=position_ids_BS, use_cache=False).logits


@torch.no_grad()
def plain_sample(
    model: Denoiser, requests: list[CanvasRequest], spec: SamplingSpec, uniform: Uniform
) -> list[Completion]:
    """LLaDA's generate() with low-confidence remasking, for left-padded prompts."""
    mask_id = model.tokens.mask_id
    longest = max(len(request.prompt_ids) for request in requests)
    ids, attention = [], []
    for request in requests:
        pads = longest - len(request.prompt_ids)
        ids.append([*[PAD] * pads, *request.prompt_ids, *[mask_id] * spec.completion_length])
        attention.append([*[0] * pads, *[1] * (len(request.prompt_ids) + spec.completion_length)])
    x_BS, attention_BS = torch.tensor(ids), torch.tensor(attention)
    for block in range(spec.blocks):
        start = longest + block * spec.block_length
        end = start + spec.block_length
        count_B = (x_BS[:, start:end] == mask_id).sum(dim=1)
        for step in range(spec.steps_per_block):
            quota_B = count_B // spec.steps_per_block + (step < count_B % spec.steps_per_block)
            masked_BS = x_BS == mask_id
            active_BS = masked_BS.clone()
            active_BS[:, :start] = False
            active_BS[:, end:] = False
            logits_BSV = full_logits(model, x_BS, attention_BS).double()
            logits_BSV[..., list(model.tokens.banned_ids)] = float("-inf")
            gumbel_BSV = (
                -uniform(logits_BSV, active_BS, block * spec.steps_per_block + step).log()
            ) ** spec.temperature
            x0_BS = (logits_BSV.exp() / gumbel_BSV).argmax(dim=-1)
            probability_BSV = logits_BSV.softmax(dim=-1)
            confidence_BS = probability_BSV.gather(-1, x0_BS[..., None]).squeeze(-1)
            confidence_BS = confidence_BS.masked_fill(~active_BS, float("-inf"))
            for row, quota in enumerate(quota_B.tolist()):
                kept = confidence_BS[row].topk(quota).indices
                x_BS[row, kept] = x0_BS[row, kept]
    return [Completion.cut(row, EOS) for row in x_BS[:, longest:].tolist()]


def fresh_noise(logits_BSV: torch.Tensor, _active_BS: torch.Tensor, _step: int) -> torch.Tensor:
    """Uniforms of the global stream for every logit, as LLaDA draws them."""
    return torch.rand_like(logits_BSV)


def keyed_noise(requests: list[CanvasRequest]) -> Uniform:
    """Uniforms that agree with the exact sampler's where a token can be chosen."""

    def uniform(logits_BSV: torch.Tensor, active_BS: torch.Tensor, step: int) -> torch.Tensor:
        uniform_BSV = torch.rand_like(logits_BSV)
        for row, request in enumerate(requests):
            masked, vocabulary = int(active_BS[row].sum()), logits_BSV.shape[-1]
            generator = request.key.generator(step)
            uniform_BSV[row, active_BS[row]] = torch.rand(masked, vocabulary, generator=generator, dtype=torch.float64)
        return uniform_BSV

    return uniform


def build(arguments: argparse.Namespace) -> tuple[Denoiser, list[CanvasRequest], SamplingSpec]:
    """Return the network, a batch of requests with prompts of mixed lengths, and the sampling."""
    torch.manual_seed(arguments.seed)
    config = LlamaConfig(
        vocab_size=arguments.vocabulary,
        hidden_size=arguments.width,
        intermediate_size=arguments.width * 8 // 3,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.width // 64,
        initializer_range=0.05,
    )
    config.is_causal = False
    mask_id = arguments.vocabulary - 1
    model = Denoiser(LlamaForCausalLM(config).eval(), SpecialTokens(mask_id, EOS, PAD, (EOS, mask_id)))
    requests = []
    for row in range(arguments.rows):
        length = arguments.prompt - row * arguments.prompt // (2 * arguments.rows)
        prompt = torch.randint(FIRST_WORD, mask_id, (length,)).tolist()
        requests.append(CanvasRequest(tuple(prompt), NoiseKey(arguments.seed, "benchmark", 0, row, 0)))
    spec = SamplingSpec(
        completion_length=arguments.length,
        block_length=arguments.block,
        steps=arguments.steps,
        temperature=arguments.temperature,
    )
    return model, requests, spec


def assert_same_tokens(model: Denoiser, requests: list[CanvasRequest], spec: SamplingSpec) -> None:
    """Both samplers, fp64 weights, the same fp64 noise: the same completions."""
    model.lm.double()
    exact = sample(model, requests, spec, rows=len(requests), noise_dtype=torch.float64)
    plain = plain_sample(model, requests, spec, keyed_noise(requests))
    model.lm.float()
    assert exact == plain, "the exact sampler chose other tokens than the plain one"


def approximate(spec: SamplingSpec, threshold: float) -> dict[str, SamplingSpec]:
    """Name the samplings that give other tokens than `spec`, faster."""
    changes: dict[str, dict[str, object]] = {
        "prefix cache": {"cache": "Prefix"},
        "dual cache": {"cache": "Dual"},
        "dual + threshold": {"cache": "Dual", "confidence_threshold": threshold},
    }
    return {name: spec.model_copy(update=change) for name, change in changes.items()}


def print_agreement(model: Denoiser, requests: list[CanvasRequest], samplings: dict[str, SamplingSpec]) -> None:
    """What each sampling costs in forwards and columns, and how many of its tokens are not the exact sampler's."""
    exact: list[Completion] = []
    for name, spec in samplings.items():
        count = ForwardCount()
        completions = sample(model, requests, spec, rows=len(requests), count=count)
        exact = exact or completions
        ours, theirs = (torch.tensor([completion.ids for completion in side]) for side in (completions, exact))
        differing = (ours != theirs).float().mean().item()
        print(
            f"{name:20}{count.whole:5} whole and {count.windows:5} partial forwards, {count.columns:9} columns, "
            f"{100 * differing:5.1f} % of tokens differ from the exact ones"
        )


def measure_quality(arguments: argparse.Namespace) -> None:
    """Accuracy and time of every sampling on the manifest's evaluation sets, the same weights and seeds."""
    document = load_manifest(arguments.manifest)[-1]
    exact = document.spec.sampling.model_copy(update={"cache": "None", "confidence_threshold": None})
    print(f"{'':20}{'data set':24}{'accuracy':>9}{'95 % interval':>16}{'seconds':>9}{'tokens/s':>10}")
    for name, sampling in {"exact": exact, **approximate(exact, arguments.threshold)}.items():
        spec = document.spec.model_copy(update={"sampling": sampling})
        for record in measure(Subject(replace(document, spec=spec), arguments.runs, arguments.model)):
            seconds = record.time.seconds
            rate = record.problems * record.samples * sampling.completion_length / seconds
            interval = f"{100 * (record.interval_low or 0):.1f}–{100 * (record.interval_high or 0):.1f} %"
            share = f"{100 * (record.accuracy or 0):.1f} %"
            print(f"{name:20}{record.dataset:24}{share:>9}{interval:>16}{seconds:9.1f}{rate:10.1f}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=32768, help="rows of the head (LLaDA: 126464) [%(default)s]")
    parser.add_argument("--layers", type=int, default=4, help="decoder layers [%(default)s]")
    parser.add_argument("--width", type=int, default=256, help="hidden size, a multiple of 64 [%(default)s]")
    parser.add_argument("--rows", type=int, default=2, help="completions in the batch [%(default)s]")
    parser.add_argument("--prompt", type=int, default=32, help="longest prompt, in tokens [%(default)s]")
    parser.add_argument("--length", type=int, default=32, help="canvas length, in tokens [%(default)s]")
    parser.add_argument("--block", type=int, default=16, help="block length, in tokens [%(default)s]")
    parser.add_argument("--steps", type=int, default=16, help="denoising steps of a canvas [%(default)s]")
    parser.add_argument("--temperature", type=float, default=1.2, help="Gumbel noise temperature [%(default)s]")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each sampler, in turns [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads, for both samplers [%(default)s]")
    parser.add_argument("--threshold", type=float, default=0.9, help="confidence threshold [%(default)s]")
    parser.add_argument("--manifest", type=Path, help="measure accuracy on this run's evaluation sets instead")
    parser.add_argument("--model", type=Path, help="the weights for --manifest, a model folder")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of weights, prompts and noise [%(default)s]")
    return parser.parse_args()


def main() -> None:
    """Check, time, print."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    if arguments.manifest is not None:
        measure_quality(arguments)
        return
    model, requests, spec = build(arguments)
    assert_same_tokens(model, requests, spec)
    print(f"{len(requests)} completions of {spec.completion_length} tokens: same tokens with fp64 noise")
    rows = len(requests)
    faster = approximate(spec, arguments.threshold)
    print_agreement(model, requests, {"exact, fp32 noise": spec, **faster})
    samplers: dict[str, Callable[[], object]] = {
        "plain, fp64 noise": lambda: plain_sample(model, requests, spec, fresh_noise),
        "exact, fp64 noise": lambda: sample(model, requests, spec, rows=rows, noise_dtype=torch.float64),
        "exact, fp32 noise": lambda: sample(model, requests, spec, rows=rows),
        **{name: partial(sample, model, requests, changed, rows=rows) for name, changed in faster.items()},
    }
    seconds: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in range(arguments.runs):
        for name, run in samplers.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    print(f"{'':20}{'median s':>9}{'min s':>8}{'max s':>8}{'tokens/s':>10}")
    median = {name: statistics.median(runs) for name, runs in seconds.items()}
    for name, runs in seconds.items():
        rate = rows * spec.completion_length / median[name]
        print(f"{name:20}{median[name]:9.2f}{min(runs):8.2f}{max(runs):8.2f}{rate:10.1f}")
    plain, exact, single, *approximations = median.values()
    print(f"plain / exact with fp32 noise (the trainer's default): {plain / single:.1f}")
    for name, seconds_taken in zip(faster, approximations, strict=True):
        print(f"plain / {name} (approximate, fp32 noise): {plain / seconds_taken:.1f}")
    print(f"ratio: {plain / exact:.1f}")


if __name__ == "__main__":
    main()
