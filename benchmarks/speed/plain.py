"""The released recipe's path, written anew and plainly: what a step costs that treats completions one by one.

- Sampling is LLaDA's published generate(): every step takes the logits of the whole sequence, copies them to fp64,
  draws fp64 Gumbel noise for all of them and runs every step of every row, hinted or not. The completions of one prompt
  are one batch, as one prompt is one device's there.
- Log-probabilities under the old and the reference policy are computed for each of the μ updates, though the canvas is
  masked whole and so the same each time; each completion is a row of its own, with logits of all positions.
- An update is the sequence-level clipped objective with a k3 KL over all canvas positions, and AdamW.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.canvas import CanvasRequest, Completion
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.igpo.hints import build_hint
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.lora import reference_policy
from igpo_trainer.spec.igpo import HintsSpec
from igpo_trainer.spec.sampling import SamplingSpec
from speed.clock import seconds_of
from speed.network import EOS, PAD
from speed.shape import Shape

Uniform = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]  # (logits_BSV, active_BS, step) -> u_BSV in fp64
CLIP, KL = 0.2, 0.01


def full_logits(model: Denoiser, ids_BS: torch.Tensor, attention_BS: torch.Tensor) -> torch.Tensor:
    """Logits of all positions."""
    position_ids_BS = (attention_BS.cumsum(-1) - 1).clamp(min=0)
    with model.autocast():
        return model.lm(ids_BS, attention_mask=attention_BS, position_ids=position_ids_BS, use_cache=False).logits


@torch.no_grad()
def plain_sample(
    model: Denoiser, requests: Sequence[CanvasRequest], spec: SamplingSpec, uniform: Uniform
) -> list[Completion]:
    """LLaDA's generate() with low-confidence remasking, for left-padded prompts; hints stay where they are."""
    mask_id = model.tokens.mask_id
    x_BS, attention_BS = canvases_of(model, requests, spec.completion_length)
    longest = x_BS.shape[1] - spec.completion_length
    for block in range(spec.blocks):
        start = longest + block * spec.block_length
        end = start + spec.block_length
        count_B = (x_BS[:, start:end] == mask_id).sum(dim=1)
        for step in range(spec.steps_per_block):
            quota_B = count_B // spec.steps_per_block + (step < count_B % spec.steps_per_block)
            active_BS = x_BS == mask_id
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


def canvases_of(model: Denoiser, requests: Sequence[CanvasRequest], canvas: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids_BS, attention_BS): pads, prompt, and a canvas of masks and hints."""
    longest = max(len(request.prompt_ids) for request in requests)
    ids, attention = [], []
    for request in requests:
        pads = longest - len(request.prompt_ids)
        masks = [request.hints.get(k, model.tokens.mask_id) for k in range(canvas)]
        ids.append([*[PAD] * pads, *request.prompt_ids, *masks])
        attention.append([*[0] * pads, *[1] * (len(request.prompt_ids) + canvas)])
    return torch.tensor(ids, device=model.device), torch.tensor(attention, device=model.device)


def fresh_noise(logits_BSV: torch.Tensor, _active_BS: torch.Tensor, _step: int) -> torch.Tensor:
    """Uniforms of the global stream for every logit, as LLaDA draws them."""
    return torch.rand_like(logits_BSV)


def keyed_noise(requests: Sequence[CanvasRequest]) -> Uniform:
    """Uniforms that agree with the exact sampler's where a token can be chosen."""

    def uniform(logits_BSV: torch.Tensor, active_BS: torch.Tensor, step: int) -> torch.Tensor:
        uniform_BSV = torch.rand_like(logits_BSV)
        for row, request in enumerate(requests):
            masked, vocabulary = int(active_BS[row].sum()), logits_BSV.shape[-1]
            generator = request.key.generator(step, device=logits_BSV.device)
            noise = torch.empty(masked, vocabulary, dtype=torch.float64, device=logits_BSV.device)
            uniform_BSV[row, active_BS[row]] = noise.uniform_(generator=generator)
        return uniform_BSV

    return uniform


@dataclass(frozen=True)
class Scored:
    """A prompt's completions with what an update needs of the old and the reference policy, once for each update."""

    ids_GL: torch.Tensor
    prompt_ids: tuple[int, ...]
    advantage_G: torch.Tensor
    old: list[torch.Tensor]
    reference: list[torch.Tensor]


class PlainStep:
    """One RL step, timed by phase."""

    def __init__(self, model: Denoiser, shape: Shape, sampling: SamplingSpec, problems: list[EncodedProblem]) -> None:
        self.model = model
        self.shape = shape
        self.sampling = sampling
        self.problems = problems
        self.reference = None if shape.rank else copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)

    def run(self, cycle: int) -> dict[str, float]:
        """Seconds of each phase."""
        device, found, scored = self.model.device, [], []
        rollout = seconds_of(lambda: found.extend(self.sampled(p, cycle, hinted=False) for p in self.problems), device)
        # Random words hold no answer, so every group is all wrong and gets its hinted rollouts; they are wrong too.
        rescue = seconds_of(lambda: [self.sampled(p, cycle, hinted=True) for p in self.problems], device)
        pairs = list(zip(self.problems, found, strict=True))
        logprob = seconds_of(lambda: scored.extend(self.scored(p, ids) for p, ids in pairs), device)
        update = seconds_of(lambda: [self.update(scored, index) for index in range(self.shape.updates)], device)
        return {"rollout": rollout, "rescue": rescue, "logprob": logprob, "update": update}

    def sampled(self, problem: EncodedProblem, cycle: int, *, hinted: bool) -> torch.Tensor:
        """G completions of one prompt, [G, L]."""
        requests = plain_requests(problem, self.shape, cycle, hinted=hinted)
        completions = plain_sample(self.model, requests, self.sampling, fresh_noise)
        return torch.tensor([completion.ids for completion in completions], device=self.model.device)

    @torch.no_grad()
    def scored(self, problem: EncodedProblem, ids_GL: torch.Tensor) -> Scored:
        """Old and reference log-probabilities for every update, and the old policy's entropies."""
        old, reference = [], []
        for _ in range(self.shape.updates):
            logp_GL, entropy_GL = token_scores(self.model, problem.prompt_ids, ids_GL, self.sampling.temperature)
            assert entropy_GL.isfinite().all()
            old.append(logp_GL)
            with nullcontext(self.reference) if self.reference else reference_policy(self.model) as reference_model:
                temperature = self.sampling.temperature
                reference.append(token_scores(reference_model, problem.prompt_ids, ids_GL, temperature)[0])
        return Scored(ids_GL, problem.prompt_ids, ids_GL.new_zeros(len(ids_GL)).float(), old, reference)

    def update(self, scored: Sequence[Scored], index: int) -> None:
        """One optimizer update, a prompt a micro-batch."""
        for group in scored:
            logp_GL, _ = token_scores(self.model, group.prompt_ids, group.ids_GL, self.sampling.temperature)
            ratio_G = (logp_GL - group.old[index]).mean(dim=1).exp()
            clipped_G = ratio_G.clamp(1 - CLIP, 1 + CLIP)
            surrogate_G = torch.minimum(ratio_G * group.advantage_G, clipped_G * group.advantage_G)
            gap_GL = group.reference[index] - logp_GL
            kl_GL = gap_GL.exp() - gap_GL - 1
            loss = -(surrogate_G[:, None] - KL * kl_GL).mean() / len(scored)
            loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 0.2)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def token_scores(
    model: Denoiser, prompt_ids: Sequence[int], ids_GL: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities, entropies) [G, L]: one row a completion, every position's logits, the canvas masked whole."""
    prompt_GS = torch.tensor(prompt_ids, device=ids_GL.device).expand(len(ids_GL), -1)
    x_GS = torch.cat([prompt_GS, torch.full_like(ids_GL, model.tokens.mask_id)], dim=1)
    logits_GLV = full_logits(model, x_GS, torch.ones_like(x_GS))[:, -ids_GL.shape[1] :].float() / temperature
    logp_GLV = logits_GLV.log_softmax(dim=-1)
    with torch.no_grad():
        entropy_GL = -(logp_GLV.exp() * logp_GLV).sum(dim=-1)
    return logp_GLV.gather(-1, ids_GL[..., None]).squeeze(-1), entropy_GL


def plain_requests(problem: EncodedProblem, shape: Shape, cycle: int, *, hinted: bool) -> list[CanvasRequest]:
    """G requests of one prompt, with hints if wanted."""
    requests = []
    for sample in range(shape.group):
        key = NoiseKey(0, "rescue" if hinted else "rollout", cycle, 0, sample)
        hints = build_hint(problem, shape.canvas, HintsSpec(), key.random(0)).tokens if hinted else {}
        requests.append(CanvasRequest(problem.prompt_ids, key, hints))
    return requests
