"""What every WebSocket is held to, whichever server it came to."""

import socket
from typing import Any

MESSAGE_BYTES = 64 * 1024  # what a client may send in one frame; it has little to say
PONG_SECONDS = 40  # for a client to answer a ping: longer than a reader may stall, which is told why
CLOSE_SECONDS = 60  # for a client to read what is kept for it and the reason, before it is cut off
UNREAD_BYTES = 128 * 1024  # the kernel keeps for a client that does not read; it takes as much again for its own


def bound(connection: Any) -> None:
    """Let the kernel keep a little of what the client has not read; by itself it keeps four megabytes a socket.

    So a reader that stalls is known after some hundreds of frames, before it fails to answer a ping.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
