r"""The last \boxed{...} of a completion, as rewards see it; the implementation stands beside the layers."""

from igpo_trainer.boxed import Box, boxes, last_boxed

__all__ = ["Box", "boxes", "last_boxed"]
