"""The server's door: how many come in by it in one turn of the loop."""

import asyncio
import socket
from typing import Any

import uvicorn
import uvloop

from asgi.server import ACCEPTS, BACKLOG, BoundedHttp, Server

CLIENTS = 8 * ACCEPTS


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application without answers."""


async def turns_until_all_are_in() -> int:
    """How many turns the loop takes for as many connections as wait at the door when it first looks."""
    config = uvicorn.Config(
        nothing, port=0, http=BoundedHttp, lifespan="off", log_config=None, timeout_graceful_shutdown=1, backlog=BACKLOG
    )
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    address = server.servers[0].sockets[0].getsockname()
    clients = []
    for _ in range(CLIENTS):  # without a turn of the loop: the kernel takes them, nobody has accepted them
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(address)
        clients.append(client)
    turns = 0
    while len(server.server_state.connections) < CLIENTS and turns < 10 * CLIENTS:
        await asyncio.sleep(0)
        turns += 1
    for client in clients:
        client.close()
    await server.shutdown()
    assert all(not each.is_serving() for each in server.servers)
    return turns


def test_many_are_let_in_by_one_turn_of_the_loop():
    """A turn is long under load: whoever is new does not wait for as many as there are new ones before him."""
    assert uvloop.run(turns_until_all_are_in()) < CLIENTS / 2
