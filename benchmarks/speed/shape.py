"""What is measured: the sizes of a network, of its completions and of one rollout batch."""

import argparse
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Shape:
    """All sizes of one measurement. Lengths are in tokens."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    prompt: int
    canvas: int
    block: int
    steps: int
    group: int
    """Completions per prompt, G."""
    prompts: int
    updates: int
    """Inner updates, μ."""
    tied: bool = False
    """Whether the head is the embedding's matrix."""
    rank: int = 0
    """Of LoRA adapters; 0: all weights are trained."""

    @property
    def parameters(self) -> int:
        """Weights of the network without adapters."""
        layer = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + (2 - self.tied) * self.vocabulary * self.hidden + self.hidden

    @property
    def width(self) -> int:
        """Tokens of prompt and canvas."""
        return self.prompt + self.canvas

    def __str__(self) -> str:
        return (
            f"{self.parameters / 1e6:.1f} M parameters ({self.layers} layers of {self.hidden}), vocabulary "
            f"{self.vocabulary}, prompt {self.prompt} + canvas {self.canvas}, block {self.block}, {self.steps} steps, "
            f"G {self.group}, {self.prompts} prompt(s), μ {self.updates}"
        )


SHAPES = {
    "small": Shape(32768, 128, 344, 4, 2, 256, 256, 32, 32, 8, 1, 4, tied=True),
    "builtin": Shape(155, 128, 384, 3, 4, 40, 24, 8, 12, 8, 2, 2),
    "tiny": Shape(96, 32, 64, 2, 2, 12, 16, 8, 8, 4, 2, 2, rank=2),
    "llada-8b": Shape(126464, 4096, 12288, 32, 32, 256, 256, 32, 128, 8, 1, 4, rank=128),
}
"""small: 5 M parameters under a vocabulary of 32k. builtin: the built-in task, as `make demo` trains it."""

_HELP = {
    "vocabulary": "rows of the head (LLaDA: 126464)",
    "group": "completions per prompt, G",
    "prompts": "prompts of a rollout batch",
    "updates": "inner updates, μ",
    "steps": "denoising steps of a canvas",
}


def add_shape(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --shape, and one option for each size that replaces the shape's."""
    parser.add_argument("--shape", choices=SHAPES, default=default, help="named sizes [%(default)s]")
    for field in fields(Shape):
        if field.type is int:
            parser.add_argument(f"--{field.name}", type=int, help=_HELP.get(field.name, f"{field.name}, of the shape"))


def shape_of(arguments: argparse.Namespace) -> Shape:
    """Return the shape that the command line asks for."""
    given = {f.name: getattr(arguments, f.name) for f in fields(Shape) if f.type is int}
    return replace(SHAPES[arguments.shape], **{name: size for name, size in given.items() if size is not None})
