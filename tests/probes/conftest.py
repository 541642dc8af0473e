"""Trees of small files to read, and a way to read them without root's rights."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.probes.samples import Write

Result = TypeVar("Result")
NOBODY = 65534


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files (path below tmp_path -> content, a newline added) and get tmp_path."""

    def write(files: dict[str, object]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path

    return write


def as_nobody(read: Callable[[], Any]) -> Any:
    """What *read* returns in a process that has no rights: root may read everything."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            answer = read()
        except BaseException as error:
            answer = error
        os.write(target, pickle.dumps(answer))
        os._exit(0)
    os.close(target)
    with os.fdopen(source, "rb") as pipe:
        answer = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    if isinstance(answer, BaseException):
        raise answer
    return answer


@pytest.fixture
def nobody() -> Callable[[Callable[[], Any]], Any]:
    return as_nobody
