"""The control API as one table, and the OpenAPI 3.1 document that is made of it.

``control`` serves this table and nothing else, and the schemas are those of the structs that it
encodes and decodes, so the document cannot tell another story.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from scheduler.machine.api.answers import (
    Devices,
    Done,
    Error,
    Events,
    EventsAsked,
    NewRun,
    Nothing,
    Pause,
    Priority,
    RunId,
    Runs,
    Settings,
    Status,
    StopSupervisor,
)
from scheduler.machine.api.listing import RunAnswer

VERSION = "1"
BODY_BYTES = 64 << 10
_SCHEMA = "#/components/schemas/{name}"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/openapi.json: an OpenAPI 3.1 document."""

    openapi: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to ask for. ``name`` is its operation's id, and who answers it in ``calls``.

    ``body``: what a POST takes; without a body it is an empty object.
    """

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    answer: type[msgspec.Struct]
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None

    @property
    def parameters(self) -> list[str]:
        """What the path names, in its order."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


def _get(path: str, name: str, summary: str, answer: type[msgspec.Struct]) -> Route:
    return Route(method="GET", path=path, name=name, summary=summary, answer=answer)


def _post(path: str, name: str, summary: str, body: type[msgspec.Struct] = Nothing) -> Route:
    return Route(method="POST", path=path, name=name, summary=summary, answer=Done, body=body)


ROUTES = (
    _get("/v1/status", "status", "Devices, attempts, what waits and why", Status),
    _get(
        "/v1/devices", "devices", "What was found on this machine, and what was left out", Devices
    ),
    _get("/v1/config", "config", "The configuration in force", Settings),
    _get("/v1/openapi.json", "document", "This document", Document),
    Route(
        method="GET",
        path="/v1/events",
        name="events",
        summary="What happened, oldest first",
        query=EventsAsked,
        answer=Events,
    ),
    _get("/v1/runs", "runs", "All runs, newest first", Runs),
    _get("/v1/runs/{run}", "run", "One run", RunAnswer),
    _post("/v1/runs", "take_run", "Take a run that the command line has made", NewRun),
    _post("/v1/runs/{run}/pause", "pause_run", "Start nothing more of it", Pause),
    _post("/v1/runs/{run}/resume", "resume_run", "End a pause"),
    _post("/v1/runs/{run}/cancel", "cancel_run", "End it for good"),
    _post("/v1/runs/{run}/interrupt", "interrupt_run", "As Ctrl-C: what runs may finish"),
    _post("/v1/runs/{run}/priority", "prioritise", "Larger comes first", Priority),
    _post("/v1/devices/{device}/pause", "pause_device", "Start nothing more there", Pause),
    _post("/v1/devices/{device}/resume", "resume_device", "Use it again"),
    _post("/v1/supervisor/stay", "stay", "Do not leave after the last run"),
    _post("/v1/supervisor/drain", "drain", "Leave when all that runs has finished"),
    _post("/v1/supervisor/stop", "stop", "Leave", StopSupervisor),
)

_SAID_WRONG = {
    "400": "Not as this document wants it",
    "401": "No token, or a wrong one; over TCP only",
    "403": "Not from here; over TCP only",
}
_NOT_THERE = {"404": "There is no such thing"}
_NOT_NOW = {
    "409": "Not as things are",
    "413": f"More than {BODY_BYTES} bytes",
    "503": "The supervisor cannot do it now",
}


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    kinds = {kind for route in ROUTES for kind in (route.answer, route.body) if kind is not None}
    ordered = sorted(kinds | {Error}, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_SCHEMA)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GPU trial scheduler",
            "version": VERSION,
            "description": "Sizes are bytes, times seconds since the epoch, null is unknown.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    errors = {**_SAID_WRONG, **_NOT_THERE, **(_NOT_NOW if route.method == "POST" else {})}
    errors["503"] = _NOT_NOW["503"]
    return {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*map(_in_path, route.parameters), *_in_query(route.query)],
        **({"requestBody": _body(route.body)} if route.body is not None else {}),
        "responses": {
            "200": {"description": "As asked", "content": _json(route.answer)},
            **{
                status: {"description": words, "content": _json(Error)}
                for status, words in sorted(errors.items())
            },
        },
    }


def _in_path(name: str) -> dict[str, Any]:
    schema = msgspec.json.schema(RunId) if name == "run" else {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(kind: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    if kind is None:
        return []
    _, schemas = msgspec.json.schema_components([kind])
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in schemas[kind.__name__]["properties"].items()
    ]


def _body(kind: type[msgspec.Struct]) -> dict[str, Any]:
    required = any(field.required for field in msgspec.structs.fields(kind))
    return {"required": required, "content": _json(kind)}


def _json(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _SCHEMA.format(name=kind.__name__)}}}
