"""The command line: `igpo` and `igpo-launch`."""
