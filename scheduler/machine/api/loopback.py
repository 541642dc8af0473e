"""The control API over TCP, for what cannot reach a unix socket: on this machine only, by a token.

A web page in the user's browser can send requests to 127.0.0.1 as well. It does not know the token,
and is turned away before that is looked at: by its Origin header, or, where its own name has been
made to lead here (DNS rebinding), by its Host header.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from scheduler.machine.state import StateFolder

ADDRESS = "127.0.0.1"
TOKEN = "token"
_TOKEN_BYTES = 32

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
#: Answers with a status and a sentence.
Refuse = Callable[[int, str], App]


def listen(port: int) -> socket.socket:
    """A socket that only this machine can reach. Port 0: any. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener


def token_of(state: StateFolder) -> str:
    """The token in the state folder, made where there is none that only this user can know.

    Raises OSError.
    """
    path = state.path / TOKEN
    with contextlib.suppress(OSError, UnicodeDecodeError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(file, encoding="ascii") as text:
            found = os.fstat(file)
            is_ours = found.st_uid == os.getuid() and not found.st_mode & 0o077
            token = text.read(1024).strip()
            if stat.S_ISREG(found.st_mode) and is_ours and len(token) >= _TOKEN_BYTES:
                return token
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="ascii") as text:
        text.write(f"{token}\n")
    return token


class Guard:
    """Lets through to *app* who brings the token, is of this machine and of no web page."""

    def __init__(self, app: App, refuse: Refuse, *, port: int, token: str) -> None:
        self._app = app
        self._refuse = refuse
        self._hosts = {f"{name}:{port}".encode() for name in (ADDRESS, "localhost")}
        self._authorization = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._refusal(scope["headers"]) if scope["type"] == "http" else None
        await (app or self._app)(scope, receive, send)

    def _refusal(self, headers: list[tuple[bytes, bytes]]) -> App | None:
        """*headers*: with their names in lower case, in order."""

        def given(wanted: bytes) -> list[bytes]:
            return [value for name, value in headers if name == wanted]

        if given(b"origin"):
            return self._refuse(403, "web pages may not use this API")
        hosts = given(b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return self._refuse(403, "the Host header must name 127.0.0.1 and the port")
        tokens = given(b"authorization")
        if len(tokens) != 1 or not hmac.compare_digest(tokens[0], self._authorization):
            return self._refuse(401, "send the token: Authorization: Bearer TOKEN")
        return None
