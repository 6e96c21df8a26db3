"""What can go wrong here, in one line that names the next action."""


class ClusterError(Exception):
    """The throw-away cluster cannot do what was asked; the message says what to do about it."""
