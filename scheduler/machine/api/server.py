"""uvicorn as the control API uses it: who may connect, what is said to who speaks no HTTP, and how
often it looks around. What is asked and answered is in ``control``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from scheduler.machine.api.answers import Error

_log = logging.getLogger(__name__)

TICK_S = 1.0  #: the date that answers bear is this old at most


class OwnUserOnly(socket.socket):
    """A listening unix socket that hangs up on other users before they are heard (unix(7)).

    The permissions of the socket and its folder keep them out already; root passes by those.
    """

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(fileno=listener.detach())

    def accept(self) -> tuple[socket.socket, Any]:
        while True:
            connection, address = super().accept()
            size = struct.calcsize("3i")
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            _, uid, _ = struct.unpack("3i", peer)
            if uid == os.getuid():
                return connection, address
            connection.close()
            _log.warning("user %d has asked for the control socket and was refused", uid)


class _Protocol(H11Protocol):
    """What is no HTTP is answered in JSON too."""

    def send_400_response(self, msg: str) -> None:
        body = msgspec.json.encode(Error(error=f"this is not HTTP/1.1: {msg}"))
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


class Server(uvicorn.Server):
    """Looks around once a second. uvicorn's ten times were four fifths of what a supervisor cost
    that had nothing to do: 0.2 % of a core."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), TICK_S)

    def leave(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._leaving.set)


def server(app: Any) -> Server:
    """For an ASGI application; sockets are handed to its ``serve``."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=_Protocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    return Server(config)
