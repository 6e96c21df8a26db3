"""The comparison of IGPO, Resample and GRPO: manifests, runs, scores, page."""
