"""kopf logs in as our own client does, and again before a service account's token runs out."""

from datetime import UTC, datetime, timedelta
from typing import Final

import kopf

from igpo_operator.apply.kube import Connection, Kube

_VALID: Final = timedelta(minutes=10)


def register(registry: kopf.OperatorRegistry, kube: Kube) -> None:
    """Give kopf the credentials of our client."""

    async def login(**_: object) -> kopf.ConnectionInfo:
        return connection_info(await kube.connection(), datetime.now(UTC))

    kopf.on.login(id="login", registry=registry)(login)


def connection_info(connection: Connection, now: datetime) -> kopf.ConnectionInfo:
    """Say the same to kopf; it asks again after ten minutes."""
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_path=connection.ca_path,
        certificate_path=connection.certificate_path,
        private_key_path=connection.key_path,
        scheme="Bearer" if connection.token else None,
        token=connection.token,
        insecure=connection.insecure,
        expiration=now + _VALID,
    )
