"""One life of a host: from its run's folder to its exit code.

A run has more than one life when its host was killed or interrupted and the run was resumed.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from scheduler.machine import changes, hosts
from scheduler.machine.room import forgiving
from scheduler.machine.runs import RunSpec, RunStatus, State, read_whole, read_wish
from scheduler.machine.standing import remove_checkpoints
from scheduler.machine.state import find
from scheduler.study import script
from scheduler.study.board import CHANGES_KEPT, Board
from scheduler.study.keeping.memory import Memory
from scheduler.study.role_host import Host, Interrupted
from scheduler.study.takeover import Takeover

BAD_TARGET = 2
TAKEN = 2
FINISHED_INTERRUPTED = 130
PUT_BACK_INTERRUPTED = 131


def live(folder: Path) -> int:
    """Run the script to its end; returns the exit code."""
    spec = read_whole(folder / "run.json", RunSpec)
    if spec is None:
        print(f"scheduler: {folder} is not a run's folder: it has no run.json", file=sys.stderr)
        return 2
    if not hosts.hold(folder):
        other = hosts.host_of(folder)
        pid = other.pid if other else "unknown"
        print(f"scheduler: run {spec.run.id} is running already (pid {pid})", file=sys.stderr)
        return TAKEN
    if spec.kept:  # it is followed, and no terminal
        sys.stdout, sys.stderr = forgiving(sys.stdout), forgiving(sys.stderr)
    (folder / "logs").mkdir(mode=0o700, exist_ok=True)
    board = _board(folder, spec)
    board.write()
    memory = Memory(folder)
    host = Host(find(), folder, spec, memory, board)
    host.takeover = Takeover(host)
    host.takeover.install()
    code, state, error = _execute(folder, spec, host, board)
    if code == BAD_TARGET and error is not None and not memory.resumed and not spec.kept:
        shutil.rmtree(folder)  # nothing was begun
        return code
    if host.halted is not None:  # also where the script has made light of it: trials are left
        code, state, error = code or 1, "interrupted", error or host.halted
        board.say(_after_halt(host.halted, spec, refused=host.refused))
    if host.calls == 0 and error is None:
        board.warn(f"{spec.target} ended without calling Study.optimize: nothing was scheduled")
    if state == "interrupted" and error is None:
        state = _wanted(folder, spec)
    if state == "cancelled":
        remove_checkpoints(folder)
    board.set(state=state, error=error, running={}, hold=None, exit_code=code)
    board.clear()
    board.write()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _after_halt(because: str, spec: RunSpec, *, refused: bool) -> str:
    again = f"scheduler run --resume {spec.run.id}"
    if refused:
        return (
            f"scheduler: {because}\nscheduler: start again with that put right; "
            f"if it is the script that you change, go on with: {again}"
        )
    return f"scheduler: no trial is lost; put that right, then go on with: {again}"


def _wanted(folder: Path, spec: RunSpec) -> State:
    """What becomes of a run whose host was interrupted, by its user's word.

    One that is kept, and that its user has said nothing of, goes on with the next supervisor: this
    one is being stopped, or the machine is.
    """
    wish = read_wish(folder)
    if wish == "cancel":
        return "cancelled"
    return "queued" if spec.kept and wish is None else "interrupted"


def _board(folder: Path, spec: RunSpec) -> Board:
    """A kill may have come between a change's record and the status that was to show it."""
    return Board(
        folder / "status.json",
        RunStatus(
            run=spec.run.id,
            state="starting",
            host_pid=os.getpid(),
            updated_at_s=time.time(),
            changes=changes.latest(folder, CHANGES_KEPT),
        ),
    )


def _execute(
    folder: Path, spec: RunSpec, host: Host, board: Board
) -> tuple[int, State, str | None]:
    """The exit code, the state to leave behind, and the error for the status."""
    try:
        script.execute(spec)
    except script.BadTarget as error:
        board.say(f"scheduler: {error}")
        return BAD_TARGET, "failed", str(error)
    except Interrupted as interrupted:
        board.say(f"scheduler: interrupted{_how_on(folder, spec)}")
        code = PUT_BACK_INTERRUPTED if interrupted.put_back else FINISHED_INTERRUPTED
        return code, "interrupted", None
    except KeyboardInterrupt:
        return FINISHED_INTERRUPTED, "interrupted", None
    except SystemExit as leaving:
        code = _code_of(leaving)
        return code, "finished" if code == 0 else "failed", None
    except BaseException as error:
        board.clear()
        script.print_own_traceback(error, str(Path(__file__).parent.parent))
        return 1, "failed", f"{type(error).__name__}: {error}"
    return 0, "finished", None


def _how_on(folder: Path, spec: RunSpec) -> str:
    match _wanted(folder, spec):
        case "cancelled":
            return " and cancelled"
        case "queued":
            return "; it goes on when the supervisor is started again"
        case _:
            return f"; go on with: scheduler run --resume {spec.run.id}"


def _code_of(leaving: SystemExit) -> int:
    """As the interpreter takes it: None is 0, text is printed and is 1."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code
    print(leaving.code, file=sys.stderr)
    return 1
