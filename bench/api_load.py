"""Fifty clients asking /v1/status at once, of a real supervisor with a run that is alive.

Wanted: the slowest hundredth under 100 ms, every answer a good one, and no poll missed: readings
come as often as without anybody asking.

    python bench/api_load.py
"""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import measure
import msgspec
from status_time import SCRIPT

from scheduler.machine.api.answers import Status

CLIENTS = 50
ASKING_S = 15.0
REQUEST = b"GET /v1/status HTTP/1.0\r\nHost: supervisor\r\n\r\n"


def main() -> None:
    with (
        measure.workplace() as (folder, environment),
        measure.going(SCRIPT, folder, environment),
    ):
        path = wait_until_running(folder / "state" / "control.sock")
        quiet = watch(path, ASKING_S)
        took, wrong, busy = under_load(path)
    report(quiet, busy, took, wrong)


def wait_until_running(path: Path) -> str:
    """A short address of the socket at *path*, once an attempt runs."""
    end_s = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > end_s:
            raise SystemExit("no supervisor has started")
        time.sleep(0.1)
    address = f"/proc/self/fd/{os.open(path.parent, os.O_PATH)}/{path.name}"
    while b'"state":"running"' not in ask(address):
        if time.monotonic() > end_s:
            raise SystemExit("no trial has started")
        time.sleep(0.1)
    return address


def under_load(path: str) -> tuple[list[float], list[str], list[float]]:
    """Seconds of each answer, what was wrong, and when readings were taken meanwhile.

    All ask at the same moment, and again when all are answered. In a process of their own, without
    threads: waiting for each other they would measure themselves.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        took: list[float] = []
        wrong: list[str] = []
        end_s = time.monotonic() + ASKING_S
        while time.monotonic() < end_s:
            for seconds, answer in all_at_once(path):
                took.append(seconds)
                if not answer.startswith(b"HTTP/1.1 200"):
                    wrong.append(answer[:60].decode("latin-1"))
        with open(write, "wb") as file:
            file.write(msgspec.json.encode((took, wrong)))
        os._exit(0)
    os.close(write)
    busy = watch(path, ASKING_S)
    with open(read, "rb") as file:
        took, wrong = msgspec.json.decode(file.read())
    os.waitpid(child, 0)
    return took, wrong, busy


def all_at_once(path: str) -> Iterator[tuple[float, bytes]]:
    """Of each client how long it took and the answer."""
    waiting = selectors.DefaultSelector()
    answers = [bytearray() for _ in range(CLIENTS)]
    began = []
    for number in range(CLIENTS):
        connection = socket.socket(socket.AF_UNIX)
        began.append(time.perf_counter())
        connection.connect(path)
        connection.sendall(REQUEST)
        waiting.register(connection, selectors.EVENT_READ, number)
    while waiting.get_map():
        for key, _ in waiting.select(30):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if part := connection.recv(1 << 16):
                answers[key.data] += part
                continue
            yield time.perf_counter() - began[key.data], bytes(answers[key.data])
            waiting.unregister(connection)
            connection.close()
    waiting.close()


def ask(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(REQUEST)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def watch(path: str, for_s: float) -> list[float]:
    """When the first device was read, each reading once."""
    seen: list[float] = []
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        body = ask(path).partition(b"\r\n\r\n")[2]
        read_at_s = msgspec.json.decode(body, type=Status).view.devices[0].read_at_s
        if read_at_s is not None and read_at_s not in seen:
            seen.append(read_at_s)
        time.sleep(0.05)
    return seen


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def report(quiet: list[float], busy: list[float], took: list[float], wrong: list[str]) -> None:
    p99_ms = statistics.quantiles(took, n=100)[98] * 1e3
    print(f"{len(took)} answers, {len(took) / ASKING_S:.0f} a second: {measure.spread(took)}")
    print(f"a reading each, undisturbed: {measure.spread(gaps(quiet), 's', 1)}")
    print(f"a reading each, meanwhile:   {measure.spread(gaps(busy), 's', 1)}")
    measure.verdict("99th hundredth of the answers, ms", p99_ms, "under 100", p99_ms < 100)
    measure.verdict("answers that were wrong", len(wrong), "0", not wrong)
    usual_s = statistics.median(gaps(quiet))
    missed = sum(round(gap / usual_s) - 1 for gap in gaps(busy))
    measure.verdict(f"polls missed of {len(busy)}", missed, "0", missed == 0)


if __name__ == "__main__":
    main()
