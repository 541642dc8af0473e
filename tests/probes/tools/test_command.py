"""Running another program: it is limited, it leaves nothing behind, and one call serves all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from probes.tools.command import MOST_BYTES, Shared, ToolFailed, find, missing, run

SHELL = "/bin/sh"


def test_what_it_says_and_how_it_ends() -> None:
    said = run([SHELL, "-c", "echo out; echo err >&2; exit 3"], limit_s=60)
    assert (said.stdout, said.stderr, said.exit_code) == ("out\n", "err\n", 3)
    assert 0 < said.took_s < 60


def test_bytes_that_are_no_text_are_escaped() -> None:
    assert run([SHELL, "-c", r"printf '\377'"], limit_s=60).stdout == "\\xff"


def test_it_has_no_terminal_no_input_and_the_language_of_the_parsers() -> None:
    asks = "cat; tty 2>/dev/null; echo $LC_ALL $NO_COLOR $HELLO"
    said = run([SHELL, "-c", asks], limit_s=10, environment={"HELLO": "there"})
    assert said.stdout == "not a tty\nC.UTF-8 1 there\n"


def test_one_that_runs_wild_does_not_fill_the_memory() -> None:
    with pytest.raises(ToolFailed, match="sh says more than 4194304 bytes"):
        run([SHELL, "-c", f"head -c {2 * MOST_BYTES} /dev/zero"], limit_s=60)
    with pytest.raises(ToolFailed, match="yes did not answer in 1 s"):
        run(["/usr/bin/yes"], limit_s=0.6)


def test_one_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, wait_for: Callable[[Callable[[], object], str], object]
) -> None:
    pid = tmp_path / "pid"
    began_s = time.monotonic()
    with pytest.raises(ToolFailed, match="sh did not answer in 1 s"):
        run([SHELL, "-c", f"sleep 600 & echo $! > {pid}; wait"], limit_s=0.6)
    assert time.monotonic() - began_s < 60
    left = int(pid.read_text())
    wait_for(lambda: not is_running(left), "its child to be gone")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("no program")
    with pytest.raises(ToolFailed, match="tool cannot be started: permission denied"):
        run([str(tmp_path / "tool")], limit_s=60)


def test_it_is_looked_for_on_path_and_then_in_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert missing("tool") == "tool is not on PATH"
    assert missing("tool", "/opt/a") == "tool is neither on PATH nor in /opt/a"
    (tmp_path / "tool").touch(mode=0o755)
    assert missing("tool", str(tmp_path)) is None
    assert find("tool", str(tmp_path)) == str(tmp_path / "tool")


def test_one_call_serves_all_who_ask_at_once() -> None:
    calls: list[int] = []
    began, go = threading.Event(), threading.Event()

    def call() -> int:
        calls.append(1)
        began.set()
        go.wait(20)
        return len(calls)

    shared = Shared(call, fresh_s=60)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(shared.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert began.wait(20)
    go.set()
    for thread in threads:
        thread.join(20)
    assert answers == [1] * 8


def test_an_old_answer_is_not_given_and_a_failure_is_shared_too() -> None:
    answers = iter([1, ToolFailed("no"), 3])

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, ToolFailed):
            raise answer
        return answer

    shared = Shared(call, fresh_s=0.0)
    assert shared.get() == 1
    with pytest.raises(ToolFailed):
        shared.get()
    assert shared.get() == 3
