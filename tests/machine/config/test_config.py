"""The configuration's file and variables: what holds, where it came from, what is wrong."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.machine.config import loading as config
from scheduler.machine.config.loading import ConfigError, Loaded, find, load
from scheduler.machine.config.reading import Reader
from scheduler.machine.config.settings import Config, DeviceSettings
from scheduler.machine.config.toml_lines import line_of

GIB = 1 << 30

WHOLE = """
[run]
memory_per_trial = "7GiB"
max_trials = 3
start = "re-run"
containment = false

[devices."0000:03:00.0"]
reserve = "1.5GiB"
use = "on request"

[devices.HOST]
use = false

[queue]
runs_at_once = 2

[attempts]
nice = 0
io = "none"
stop_grace = "2min"
threads = 4

[neighbours]
exclusive = ["steam", "/usr/bin/blender"]

[[windows]]
days = "mon-fri"
hours = "09:00-18:00"
max_trials = 1
reserve = "8GiB"

[[windows]]
days = "sat,sun"
hours = "20:00-02:00"
max_trials = 0
stop = true
device = "0000:03:00.0"

[notify]
urls = ["discord://123456/t0ken"]
events = ["run finished", "best"]
digest = "off"

[api]
port = 8123
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return put


def problems_of(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path, environ or {})
    return [str(problem).removeprefix(str(path)) for problem in refused.value.problems]


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    loaded = load(tmp_path / "none.toml", {})
    assert loaded == Loaded(config=Config(), origins=loaded.origins, path=None)
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.origins["queue.runs_at_once"] == "default"


def test_an_empty_file_is_the_defaults_too(write: Write) -> None:
    assert load(write(""), {}).config == Config()


def test_every_key(write: Write) -> None:
    path = write(WHOLE)
    loaded = load(path, {})
    found = loaded.config
    assert found.run.promise_bytes == 7 * GIB
    assert (found.run.max_attempts, found.run.start, found.run.containment) == (3, "re-run", False)
    assert found.devices == {
        "0000:03:00.0": DeviceSettings(reserve_bytes=3 * GIB // 2, use="on request"),
        "host": DeviceSettings(use=False),
    }
    assert found.queue.runs_at_once == 2
    attempts = found.attempts
    assert (attempts.nice, attempts.io, attempts.stop_grace_s, attempts.threads) == (
        0,
        "none",
        120,
        4,
    )
    assert found.neighbours.exclusive == ("steam", "/usr/bin/blender")
    first, second = found.windows
    assert (first.days, tuple(first.hours), first.stop) == ((0, 1, 2, 3, 4), (540, 1080), False)
    assert (first.max_attempts, first.reserve_bytes) == (1, 8 * GIB)
    assert (second.max_attempts, second.stop, second.device) == (0, True, "0000:03:00.0")
    assert found.notify.urls == ("discord://123456/t0ken",)
    assert (found.notify.events, found.notify.digest_min) == (("run finished", "best"), None)
    assert found.api.port == 8123
    assert loaded.origins["windows.2.stop"] == f"the file {path}"
    assert loaded.origins["windows.1.stop"] == "default"
    assert loaded.path == str(path)
    assert "t0ken" not in repr(loaded)


def test_variables_go_before_the_file(write: Write) -> None:
    environ = {
        "SCHEDULER_RUN_MEMORY_PER_TRIAL": "3GiB",
        "SCHEDULER_RUN_CONTAINMENT": "false",
        "SCHEDULER_QUEUE_RUNS_AT_ONCE": "7",
        "SCHEDULER_ATTEMPTS_STOP_GRACE": "",
        "SCHEDULER_NOTIFY_URLS": "json://a/b json://c/d",
        "SCHEDULER_NEIGHBOURS_EXCLUSIVE": "Half Life.exe, steam",
    }
    loaded = load(write('[run]\nmemory_per_trial = "7GiB"\n'), environ)
    assert loaded.config.run.promise_bytes == 3 * GIB
    assert loaded.config.run.containment is False
    assert loaded.config.queue.runs_at_once == 7
    assert loaded.config.attempts.stop_grace_s == 30, "an empty variable is none"
    assert loaded.config.notify.urls == ("json://a/b", "json://c/d")
    assert loaded.config.neighbours.exclusive == ("Half Life.exe", "steam")
    assert loaded.origins["run.memory_per_trial"] == "$SCHEDULER_RUN_MEMORY_PER_TRIAL"
    assert loaded.origins["attempts.stop_grace"] == "default"


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    (said,) = problems_of(tmp_path / "none", {"SCHEDULER_ATTEMPTS_NICE": "high"})
    assert said == (
        "SCHEDULER_ATTEMPTS_NICE: attempts.nice is a text; wanted: a whole number from 0 to 19"
    ).replace("SCHEDULER", "$SCHEDULER", 1)


def test_a_variable_that_is_nearly_ours_is_warned_of(tmp_path: Path) -> None:
    loaded = load(tmp_path / "none", {"SCHEDULER_RUN_RESERV": "1G", "SCHEDULER_RUN": "digits-1"})
    assert loaded.warnings == (
        "$SCHEDULER_RUN_RESERV is no key of the configuration; $SCHEDULER_RUN_RESERVE is",
    )


def test_all_mistakes_are_told_at_once_each_with_its_line(write: Write) -> None:
    path = write(
        '[runs]\n[run]\nmemory_per_trail = "6GiB"\nreserve = "lots"\nmax_trials = "3"\n'
        '[attempts]\nnice = 20\nio = "idel"\n[[windows]]\nmax_trials = 1\n[[windows]]\n'
        'days = "0-4"\n[notify]\nurls = ["t0ken"]\n[devices]\nhost = 3\n'
    )
    said = problems_of(path, {"SCHEDULER_API_PORT": "80"})
    assert sorted(said) == sorted(
        [
            ', line 1: runs is not a section that is known; wanted: "run"?',
            ", line 3: run.memory_per_trail is not a key that is known; wanted:"
            ' "memory_per_trial"?',
            ', line 4: run.reserve is \'lots\'; wanted: a size: "6GiB", "6GB", "512MiB" or a'
            " number of bytes",
            ", line 5: run.max_trials is a text; wanted: a whole number of at least 1",
            ", line 7: attempts.nice is 20; wanted: a whole number from 0 to 19",
            ', line 8: attempts.io is \'idel\'; wanted: "idle" or "best-effort" or "none"',
            ", line 11: windows.2 limits nothing; wanted: max_trials, reserve or both",
            ', line 12: windows.2.days is \'0-4\'; wanted: days: "mon-fri", "sat,sun" or "daily"',
            ", line 14: notify.urls is ***; wanted: a list of apprise URLs, such as"
            ' "discord://ID/TOKEN"',
            ', line 16: devices."host" is a whole number; wanted: a table, [devices."host"]',
            "$SCHEDULER_API_PORT: api.port is 80; wanted: a whole number from 1024 to 65535",
        ]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run\n", ", line 1: it is not TOML: Expected ']' at the end of a table declaration"),
        ("[run]\nstart = \n", ", line 2: it is not TOML: Invalid value"),
        ("a = 'b", ', line 1: it is not TOML: Expected "\'"'),
        ("windows = 3", ": windows is a whole number; wanted: tables that begin with [[windows]]"),
        ("devices = []", ': devices is a list; wanted: tables such as [devices."0000:03:00.0"]'),
        ("queue = 2020-01-01", ", line 1: queue is a date or a time; wanted: a table, [queue]"),
        ("[[run]]", ", line 1: run is a list; wanted: a table, [run]"),
    ],
)
def test_what_is_no_table_or_no_toml(write: Write, text: str, said: str) -> None:
    assert problems_of(write(text))[0].startswith(said)


def test_what_others_can_write_is_refused(write: Write) -> None:
    path = write("")
    path.chmod(0o620)
    (said,) = problems_of(path)
    assert "can be written by others (mode 0620)" in said
    assert f"chmod go-w {path}" in said


def test_so_is_a_file_that_others_can_put_there(write: Write) -> None:
    path = write("")
    path.parent.chmod(0o777)
    (said,) = problems_of(path)
    assert f"chmod o-w {path.parent}" in said


def test_secrets_that_others_can_read_are_warned_of(write: Write) -> None:
    path = write('[notify]\nurls = ["discord://123456/t0ken"]')
    path.chmod(0o644)
    assert load(path, {}).warnings == (
        f"{path} holds secrets and others can read it; run: chmod 600 {path}",
    )


def test_what_is_no_file_is_refused_and_blocks_nobody(tmp_path: Path) -> None:
    assert "it is not a file" in problems_of(tmp_path)[0]
    os.mkfifo(tmp_path / "pipe")
    assert "it is not a file" in problems_of(tmp_path / "pipe")[0]
    (tmp_path / "big").write_bytes(b"#" * (config.MOST_BYTES + 1))
    assert "bytes; wanted: a file of at most" in problems_of(tmp_path / "big")[0]
    (tmp_path / "latin").write_bytes(b"\n# caf\xe9")
    assert ", line 2: it is not UTF-8" in problems_of(tmp_path / "latin")[0]


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    environ = {"SCHEDULER_CONFIG": str(tmp_path / "config.toml")}
    assert find(environ) == tmp_path / "config.toml"
    with pytest.raises(ConfigError, match="is not there"):
        load(environ=environ)
    assert load(environ={"SCHEDULER_CONFIG": os.devnull}).config == Config()


def test_the_error_pickles(write: Write) -> None:
    with pytest.raises(ConfigError) as refused:
        load(write("[run]\nreserve = -1"), {})
    again = pickle.loads(pickle.dumps(refused.value))
    assert str(again) == str(refused.value)
    assert again.problems == refused.value.problems


@given(st.text() | st.lists(st.sampled_from(WHOLE.splitlines())).map("\n".join))
def test_whatever_is_in_it_it_is_taken_or_refused(text: str) -> None:
    reader = Reader("config.toml", text)
    reader.take({})
    for problem in reader.problems:
        assert str(problem)


LINES = """# one
a = 1
[t] # two
'b c' = [
  "x = 1",
]
[t."u.v"]
d.e = 3
[[w]]
f = 1
[[w]]
f = 2
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("t",), 3),
        (("t", "b c"), 4),
        (("t", "u.v"), 7),
        (("t", "u.v", "d", "e"), 8),
        (("t", "u.v", "d"), 8),
        (("w", 0, "f"), 10),
        (("w", 1), 11),
        (("w", 1, "f"), 12),
        (("x",), None),
        (("t", "none"), None),
    ],
)
def test_the_line_of_a_key(path: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(LINES, path) == line
