"""kopf's settings, each with its reason."""

import kopf

from igpo_operator.apply.resources import PODS
from igpo_operator.render.names import RUN_LABEL


def settings_of() -> kopf.OperatorSettings:
    """Settings of a kopf that only informs: no finalizer, no posting, no peering."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # events are ours: a pure function of two statuses
    settings.peering.standalone = True  # a Lease decides who works, not kopf's peering, which freezes both
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660  # a watch that is silently dead behind a load balancer ends some time
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500  # bounds the memory of the first listing
    settings.watching.label_selectors[PODS.version, PODS.plural] = RUN_LABEL  # the server filters, not Python
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.execution.max_workers = 16
    settings.queueing.idle_timeout = 1.0  # workers of quiet objects end soon: less memory at rest
    settings.scanning.disabled = True  # both kinds are there before kopf starts; watching CRDs needs wide rights
    settings.process.ultimate_exiting_timeout = 10  # below the pod's grace period
    return settings
