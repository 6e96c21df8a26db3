"""What the end-to-end tests share: manifests, live runs, faults, the installed operator, and a record of every status."""
