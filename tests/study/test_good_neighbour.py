"""Attempts give way: in CPU time, at the disk, before the kernel's OOM killer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from script_runs import Runner

from scheduler.machine.runs import RunSpec
from scheduler.study.attempt.courtesy import OOM_SCORE, read_io_priority

ROOT = Path(__file__).parents[2]
IO_KNOWN = pytest.mark.skipif(
    read_io_priority() is None, reason="this kernel or container does not tell IO priorities"
)


def nice_of(pid: int) -> int:
    """Field 19 of /proc/PID/stat, proc(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16])


def autogroup_of(pid: int | str) -> str | None:
    """As "nice 10"; None where the kernel has no autogroups."""
    try:
        return Path(f"/proc/{pid}/autogroup").read_text().partition(" ")[2].strip()
    except OSError:
        return None


@pytest.mark.processes
def test_an_attempt_gives_way(scripts: Runner, way: str) -> None:
    """To all but a nicer one: by 10 more than its user has it, at the disk behind everybody, and
    its session among the sessions. Host and supervisor stay as they were."""
    text = """
        import os, pathlib, time
        import optuna

        os.nice(3)

        def objective(trial):
            pathlib.Path(f"waits-{os.getpid()}").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
            return 0.0

        optuna.create_study().optimize(objective, n_trials=1)
    """.replace("os.nice(3)", "os.nice(3)" if way == "fork" else "")
    own = os.getpriority(os.PRIO_PROCESS, 0) + (3 if way == "fork" else 0)
    going = scripts.begin(text, "--start", way)
    (path,) = going.wait_for_files("waits-*")
    pid = int(path.name.split("-")[1])
    seen = nice_of(pid), Path(f"/proc/{pid}/oom_score_adj").read_text().strip()
    io = read_io_priority(pid), read_io_priority(going.process.pid), read_io_priority()
    group = autogroup_of(pid)
    host = nice_of(going.process.pid)
    (scripts.own / "go").touch()
    going.wait().ok()
    assert seen == (min(19, own + 10), str(OOM_SCORE))
    assert host == own
    if io[2] is not None:
        assert io == ((2, 7), io[2], io[2])
    if group is not None:
        assert group == f"nice {min(19, own + 10)}"


def courteous(nice: int, io: str, before: str = "pass", times: int = 1) -> list[object]:
    """Nice value, IO class and level, and the OOM score, of a process that gives way."""
    text = f"""
import json, os
from pathlib import Path
from scheduler.study.attempt import courtesy
{before}
for _ in range({times}):
    courtesy.be_courteous({nice}, {io!r})
print(json.dumps([os.nice(0), courtesy.read_io_priority(),
    int(Path("/proc/self/oom_score_adj").read_text())]))
"""
    done = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True, text=True, cwd=ROOT, timeout=30, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: list[object] = json.loads(done.stdout)
    return told


def test_by_how_much_is_the_users_choice() -> None:
    """0 and "none" change nothing; done twice is done once."""
    own = os.nice(0)
    untouched = read_io_priority()
    as_it_was = None if untouched is None else list(untouched)
    assert courteous(0, "none") == [own, as_it_was, OOM_SCORE]
    assert courteous(4, "none", times=2)[0] == min(19, own + 4)
    assert courteous(40, "none")[0] == 19
    spec = RunSpec.__struct_defaults__
    assert {10, "best-effort", 30.0} <= {
        value for value in spec if isinstance(value, int | float | str)
    }


@IO_KNOWN
def test_nothing_goes_up() -> None:
    """Who has it lower already keeps it."""
    lower = "courtesy.give_way_at_the_disk((3, 0))"
    assert courteous(0, "best-effort", lower)[1] == [3, 0]
    assert courteous(0, "idle")[1] == [3, 0]
    assert courteous(0, "best-effort")[1] == [2, 7]
    score = "Path('/proc/self/oom_score_adj').write_text('900')"
    assert courteous(0, "none", score)[2] in (900, OOM_SCORE)


def test_where_nothing_can_be_set_all_goes_on() -> None:
    """Another machine's system calls are not called, files that are not there are not missed."""
    before = (
        "courtesy.platform.machine = lambda: 'vax'; "
        "courtesy.Path = lambda path: Path('/nowhere/at/all')"
    )
    assert courteous(1, "idle", before)[:2] == [min(19, os.nice(0) + 1), None]
