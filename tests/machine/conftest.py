"""Waiting in tests: for a condition, with a deadline, never for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
WaitFor = Callable[[Callable[[], T], str], T]


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """The first true value of *condition*; fails saying *what* was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {timeout_s:.0f} s in vain for {what}; last seen: {value!r}")
        time.sleep(0.02)
    return value


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[[Callable[[], T], str], T]:
    return wait_for
