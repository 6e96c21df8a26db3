"""How many processes a command starts."""

from igpo_trainer.spec.document import Document


def process_count(document: Document, asked: int | None) -> tuple[int, str]:
    """How many processes to start, and what to tell about it. The result of a run does not depend on it."""
    import torch

    workers = document.spec.workers
    wanted = workers.replicas * max(1, workers.gpus_per_worker)
    if asked is not None:
        return asked, ""
    gpus = torch.cuda.device_count()
    if wanted == 1 or gpus >= wanted:
        return wanted, ""
    count = max(1, gpus)
    return (
        count,
        f"asks for {wanted} processes, this machine has {gpus} GPUs: runs in {count} (--processes sets another number)",
    )
