"""The igpo trainer: masked diffusion language models trained by length-aligned SFT and IGPO."""

__version__ = "0.1.0"
