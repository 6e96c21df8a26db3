"""A throw-away but real Kubernetes: built from source, started as plain processes, gone without a trace.

`ControlPlane` needs no root; `FullCluster` adds a node that runs containers. `python -m igpo_cluster --help` is the
command line, `igpo_cluster.fixtures` the pytest plug-in.
"""
