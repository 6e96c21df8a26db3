"""kopf's handlers: they fill the cache and wake the queue, nothing else."""
