"""The document and the server: neither says or takes anything that the other does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from serving import Loop, add_run, answers, ask

from scheduler.machine import state as folder
from scheduler.machine.api.calls import Calls
from scheduler.machine.api.control import Control
from scheduler.machine.api.openapi import ROUTES, document
from scheduler.machine.chronicle.chronicle import Chronicle
from scheduler.machine.orders import Order, Orders, Refused
from scheduler.machine.state import StateFolder

TOKEN = "t" * 43


def refuse(order: Order) -> Refused | None:
    """Some of them, as the world does."""
    run = getattr(order, "run", None)
    return Refused(404, f"there is no run {run!r}") if run and run != "train-1" else None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StateFolder, str]]:
    """A state folder, and the address of its API."""
    state = StateFolder(tmp_path_factory.mktemp("state"))
    state.runs.mkdir()
    add_run(state)
    chronicle = Chronicle(state.path / "events.jsonl")
    for number in range(20):
        chronicle.tell("trial", "started", f"trial {number}", run="train-1", trial=number)
    control = Control(
        folder.listen(state, folder.CONTROL),
        answers(state),
        state=state,
        orders=Orders(Loop(refuse).put),
        chronicle=chronicle,
        tcp=(0, TOKEN),
    )
    control.start()
    yield state, f"http://127.0.0.1:{control.tcp_port}"
    control.close()
    chronicle.close()


def test_it_is_served_as_it_is_made(served: tuple[StateFolder, str]) -> None:
    got = ask(served[0], "GET", "/v1/openapi.json")
    assert got.status == 200
    assert got.said == json.loads(msgspec.json.encode(document()))


def test_every_route_has_who_answers_it(tmp_path: Path) -> None:
    calls = Calls({}, StateFolder(tmp_path))
    assert all(callable(getattr(calls, route.name)) for route in ROUTES)
    assert len({route.name for route in ROUTES}) == len(ROUTES)


def test_every_reference_leads_somewhere() -> None:
    made = document()
    for reference in _references(made):
        place = made
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(json.loads(msgspec.json.encode(document())))
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("operation", operations(), ids=lambda one: one.label)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_fuzzed_it_answers_as_the_document_says(
    served: tuple[StateFolder, str], operation: Any, mode: GenerationMode
) -> None:
    """By requests as it wants them, and by such that it must turn away; nothing is a 500."""
    _, address = served
    if mode is GenerationMode.NEGATIVE and not (
        operation.body or operation.query or operation.path_parameters
    ):
        pytest.skip("it takes nothing that could be wrong")

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask_it(case: Any) -> None:
        if "wait" in (case.query or {}):
            case.query["wait"] = 0
        headers = {"Authorization": f"Bearer {TOKEN}"}
        case.call_and_validate(base_url=address, headers=headers, timeout=20)

    ask_it()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH"]),
    path=st.sampled_from([route.path for route in ROUTES]) | st.text(max_size=20),
    body=st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(
        lambda value: json.dumps(value).encode()
    ),
)
def test_whatever_comes_it_is_no_bug_of_ours(
    served: tuple[StateFolder, str], method: str, path: str, body: bytes
) -> None:
    quoted = "".join(c if (c.isascii() and c.isalnum()) or c in "/_{}." else "%2F" for c in path)
    got = ask(served[0], method, f"/{quoted.lstrip('/')}", raw=body)
    assert got.status < 500 or got.status == 503
    if method != "HEAD":
        assert set(got.said) == {"error"} or got.status == 200
