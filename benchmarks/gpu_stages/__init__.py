"""The stages of the GPU benchmark: what each measures, when it is done, and the figures they give together."""
