"""Masked diffusion: keyed noise, canvases, the sampler and log-probability estimators."""
