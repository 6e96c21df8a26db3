"""Doing it: the Kubernetes client, the work queue, scrapes, leases, metrics."""
