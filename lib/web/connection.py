"""A caller's connection: whether its client is still there."""

import select
import socket


class ClientGone(ConnectionError):
    """The client has closed its connection, so nobody waits for the answer."""


def hung_up(client: socket.socket) -> bool:
    """Return whether the client has closed a connection that a selector reports as readable."""
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def require_client(client: socket.socket) -> None:
    """Return if the client is still connected. Raises ClientGone."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    if poll.poll(0) and hung_up(client):
        raise ClientGone
