"""Whether an error only says that another rank has gone. Torch-free: who reports a rank's end asks it."""

import re

_GLOO_LOST = re.compile(r"gloo/transport|Connection (closed|reset) by peer")


def is_peer_lost(error: BaseException | None) -> bool:
    """Whether a collective failed for want of another rank: torch's own errors, or gloo's, which have no class."""
    if any(kind.__name__ == "DistError" for kind in type(error).__mro__):  # torch.distributed's, torch not imported
        return True
    return isinstance(error, RuntimeError) and _GLOO_LOST.search(str(error)) is not None
