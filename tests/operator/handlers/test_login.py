from datetime import timedelta

from igpo_operator.apply.kube import Connection
from igpo_operator.handlers.login import connection_info
from operatorworld.clock import START


def test_kopf_logs_in_as_our_client_does_and_asks_again_before_the_token_is_old() -> None:
    connection = Connection("https://k", "/ca", None, None, "secret", insecure=False)
    info = connection_info(connection, START)
    assert (info.server, info.ca_path, info.scheme, info.token) == ("https://k", "/ca", "Bearer", "secret")
    assert info.expiration == START + timedelta(minutes=10)


def test_a_client_certificate_needs_no_token() -> None:
    info = connection_info(Connection("https://k", "/ca", "/crt", "/key", None, insecure=False), START)
    assert (info.certificate_path, info.private_key_path, info.scheme) == ("/crt", "/key", None)
