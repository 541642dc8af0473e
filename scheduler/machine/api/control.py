"""The control API's server: HTTP with JSON, on a unix socket in the state folder.

``openapi`` has the table of what can be asked, ``calls`` does it, ``loopback`` guards the way by
TCP where that is wanted, ``server`` has the connections. Here are requests and answers. It never
waits for the loop while others ask: orders are given on threads of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as Served

from scheduler.machine.api import loopback
from scheduler.machine.api.answers import WAIT_S, Answers, Error, Events, EventsAsked, Nothing
from scheduler.machine.api.calls import Calls
from scheduler.machine.api.openapi import BODY_BYTES, ROUTES, Route
from scheduler.machine.api.server import OwnUserOnly, Server, server
from scheduler.machine.chronicle.chronicle import Chronicle
from scheduler.machine.orders import Orders, Refused
from scheduler.machine.state import StateFolder

THREADS = 8
FOLLOWERS = 64  #: who wait for what happens, at once
_HEARD_OUT_BYTES = 4 << 20  #: who is cut off while he sends may miss the answer

T = TypeVar("T")
_PUBLISHED = frozenset({"status", "devices", "document"})  #: answered without reading or waiting


class Control:
    """Serves the API on its own thread until ``close``."""

    def __init__(
        self,
        listener: socket.socket,
        answers: Answers,
        *,
        state: StateFolder | None = None,
        orders: Orders | None = None,
        chronicle: Chronicle | None = None,
        tcp: tuple[int, str] | None = None,
    ) -> None:
        """*tcp*: a port of 127.0.0.1 and a token. Raises OSError where the port is taken."""
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        app = _app(_Desk(Calls(answers, state, orders, chronicle), self._pool))
        # A server for each way in: a request's own word on how it came is not to be trusted, as
        # the peer's address is unknown, like a unix socket's, once the peer has gone.
        self._ways: list[tuple[Server, socket.socket]] = [(server(app), OwnUserOnly(listener))]
        self.tcp_port: int | None = None
        if tcp is not None:
            port, token = tcp
            by_tcp = loopback.listen(port)
            self.tcp_port = by_tcp.getsockname()[1]
            guard = loopback.Guard(app, _refuse, port=self.tcp_port, token=token)
            self._ways.append((server(guard), by_tcp))
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends it, waiting at most a second for answers under way."""
        for way, _ in self._ways:
            way.leave()
        if self._thread.is_alive():
            self._thread.join(1.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        # uvicorn makes a unix socket of its own 0666, hence ours (uvicorn 0.54, server.py)
        await asyncio.gather(*(way.serve([listener]) for way, listener in self._ways))


def _app(desk: _Desk) -> Starlette:
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = route
    app = Starlette(
        routes=[
            Served(path, desk.endpoint(routes), methods=list(routes))
            for path, routes in paths.items()
        ],
        exception_handlers={HTTPException: _no_such_path, Exception: _our_bug},
    )
    app.router.redirect_slashes = False
    return app


class _Desk:
    """Takes requests apart, has ``calls`` do them, and puts answers together."""

    def __init__(self, calls: Calls, pool: ThreadPoolExecutor) -> None:
        self._calls = calls
        self._pool = pool
        self._followers = 0

    def endpoint(self, routes: dict[str, Route]) -> Callable[[Request], Awaitable[Response]]:
        """*routes*: of one path, by method."""

        async def respond(request: Request) -> Response:
            route = routes["GET" if request.method == "HEAD" else request.method]
            try:
                return Response(await self._answer(route, request), media_type="application/json")
            except Refused as refusal:
                return _error(refusal.status, refusal.sentence)
            except ClientDisconnect:
                return _error(400, "the request has no end")

        return respond

    async def _answer(self, route: Route, request: Request) -> bytes:
        given: dict[str, Any] = dict(request.path_params)
        asked = _read_query(request, route.query or Nothing)
        if route.body is not None:
            given["body"] = await _read_body(request, route.body)
        if isinstance(asked, EventsAsked):
            return msgspec.json.encode(await self._events(asked))
        call = getattr(self._calls, route.name)
        if route.name in _PUBLISHED:
            return msgspec.json.encode(call())
        return await self._in_thread(lambda: msgspec.json.encode(call(**given)))

    async def _events(self, asked: EventsAsked) -> Events:
        """Waits for the first one, where there is none yet and that is asked for."""
        until_s = time.monotonic() + min(asked.wait, WAIT_S)
        chronicle, loop, news = self._calls.chronicle, asyncio.get_running_loop(), asyncio.Event()
        if chronicle is None or not asked.wait > 0:
            return await self._in_thread(lambda: self._calls.events(asked))
        if self._followers >= FOLLOWERS:
            raise Refused(503, f"{FOLLOWERS} clients wait for what happens already")

        def heard() -> None:
            with contextlib.suppress(RuntimeError):  # the server has just ended
                loop.call_soon_threadsafe(news.set)

        self._followers += 1
        try:
            with chronicle.listening(heard):
                while True:
                    news.clear()
                    answer = await self._in_thread(lambda: self._calls.events(asked))
                    left_s = until_s - time.monotonic()
                    if answer.entries or left_s <= 0:
                        return answer
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), left_s)
        finally:
            self._followers -= 1

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _read_query(request: Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(dict(request.query_params), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, _what_is_wrong(error)) from None


async def _read_body(request: Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """An empty body is an empty object."""
    text, length = bytearray(), 0
    async for part in request.stream():
        length += len(part)
        if length <= BODY_BYTES:
            text += part
        elif length > _HEARD_OUT_BYTES:
            break
    if length > BODY_BYTES:
        raise Refused(413, f"the body has more than {BODY_BYTES} bytes")
    try:
        found = msgspec.json.decode(bytes(text) or b"{}")
        return msgspec.convert(_with_integers(found), kind)
    except msgspec.ValidationError as error:
        raise Refused(400, _what_is_wrong(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from None


def _with_integers(found: Any) -> Any:
    """2.0 is an integer too (JSON Schema 2020-12, 6.1.1); msgspec is stricter."""
    if not isinstance(found, dict):
        return found
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in found.items()
    }


def _what_is_wrong(error: msgspec.ValidationError) -> str:
    """The field first: msgspec says "Expected `int`, got `str` - at `$.priority`"."""
    said, _, place = str(error).partition(" - at `$")
    said = said.replace("`", "").replace("Object", "the object")
    field = place.rstrip("`").lstrip(".")
    return (f"{field}: " if field else "") + said[:1].lower() + said[1:]


def _error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(Error(error=sentence))
    return Response(body, status, headers, media_type="application/json")


def _refuse(status: int, sentence: str) -> Response:
    """Who has not shown that he may ask; the scheme as RFC 6750 wants it."""
    return _error(status, sentence, {"WWW-Authenticate": "Bearer"} if status == 401 else None)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    there = ", ".join(f"{route.method} {route.path}" for route in ROUTES)
    asked = f"{request.method} {request.scope['path']}"
    sentence = f"there is no {asked}; there are: {there}"
    return _error(error.status_code, sentence, error.headers)


async def _our_bug(request: Request, error: Exception) -> Response:
    return _error(500, f"a bug of ours: {type(error).__name__}; it is in supervisor.log")
