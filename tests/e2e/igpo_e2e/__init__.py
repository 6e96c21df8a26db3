"""What the end-to-end tests share: manifests, live runs, faults, the installed operator, a record of every status."""
