"""The Kubernetes API of igpo: kinds, fields, rules, status. Plain data; no I/O and no Kubernetes client."""
