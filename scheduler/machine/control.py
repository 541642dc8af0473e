"""What the supervisor answers to its user: HTTP with JSON, on a unix socket in the state folder.

    GET /v1/status    the core's view and the supervisor's own state
    GET /v1/devices   what was found on this machine, and what was left out and why

It only reads: each answer is made of values that the loop has published whole. Who may ask is
settled by the socket's and its folder's permissions.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scheduler.machine.answers import Answers, Devices, Status


class Control:
    """Serves *answers*, by path, on its own thread until ``close``."""

    def __init__(self, listener: socket.socket, answers: Answers) -> None:
        routes = [Route(path, _endpoint(answer)) for path, answer in answers.items()]
        config = uvicorn.Config(
            Starlette(routes=routes),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        # uvicorn makes a unix socket of its own 0666, hence ours (uvicorn 0.54, server.py)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="control", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends it, waiting at most a second for an answer under way."""
        self._server.should_exit = True
        self._thread.join(1.0)


def _endpoint(answer: Callable[[], Status | Devices]) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        return Response(msgspec.json.encode(answer()), media_type="application/json")

    return respond
