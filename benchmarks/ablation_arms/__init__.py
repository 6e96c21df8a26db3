"""The ablations: manifests of every arm, their scores, the page."""
