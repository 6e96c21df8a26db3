"""The kill test: a run that says where it is, moments to kill it at, and the judge of what is left."""
