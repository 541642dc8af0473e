"""What SIGTERM does to an objective, and what follows when it does not end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path

import optuna
import pytest
from script_runs import Going, Result, Runner

from scheduler.core.model import Attempt, Trial
from scheduler.machine import processes
from scheduler.study.channel import Answer, Line
from scheduler.study.serving.live import Live
from scheduler.study.serving.reactor import Reactor
from scheduler.study.serving.signalling import Signalling

ROOT = Path(__file__).parents[2]
BEGIN = """
    import os, signal, sys, threading, time
    from scheduler import Stopped
    from scheduler.study.attempt import stopping
    from scheduler.study.attempt.stopping import Undisturbed, raised_in_objective

    def term():
        os.kill(os.getpid(), signal.SIGTERM)
"""


def told(text: str) -> tuple[int, list[str]]:
    """How a process of its own ends, and what it has printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.split()


def test_raised_once() -> None:
    """A second SIGTERM does not cut short what the first one let save."""
    said = told("""
        try:
            with raised_in_objective():
                try:
                    term()
                    print("not raised")
                finally:
                    term()
                    print("saved")
        except Exception:
            print("taken for an error")
        except Stopped as stopped:
            print(stopped.code, stopping.was_received(), isinstance(stopped, SystemExit))
    """)
    assert said == (0, ["saved", "143", "True", "True"])


def test_not_in_the_middle_of_a_question() -> None:
    """Right after the answer; questions of other threads do not keep it from the main one."""
    said = told("""
        asked, answered = threading.Event(), threading.Event()

        def ask():
            with Undisturbed():
                asked.set()
                answered.wait()
            print("thread", flush=True)

        thread = threading.Thread(target=ask)
        thread.start()
        asked.wait()
        try:
            with raised_in_objective():
                with Undisturbed():
                    with Undisturbed():
                        term()
                        print("one")
                    print("two", flush=True)
                print("not raised")
        except Stopped:
            answered.set()
            thread.join()
            with Undisturbed():
                print("three")
    """)
    assert said == (0, ["one", "two", "thread", "three"])


def test_nothing_is_raised_around_the_objective() -> None:
    """After it SIGTERM waits until the outcome is told; then, and before, it ends the process."""
    said = told("""
        with raised_in_objective():
            pass
        term()
        print("told", stopping.was_received(), flush=True)
        stopping.end_at_once()
        term()
        print("lived on")
    """)
    assert said == (-signal.SIGTERM, ["told", "False"])
    assert told("term()") == (-signal.SIGTERM, [])


def test_an_objectives_own_handler_wins() -> None:
    """It stays also after the objective."""
    said = told("""
        with raised_in_objective():
            signal.signal(signal.SIGTERM, lambda *_: print("own", flush=True))
            term()
        stopping.end_at_once()
        term()
        stopping.die()
    """)
    assert said == (-signal.SIGTERM, ["own", "own"])


def test_what_the_objective_forks_ends_at_once() -> None:
    """As ``Process.terminate`` and ``Pool.terminate`` expect, also from another thread."""
    said = told("""
        import multiprocessing

        def work():
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            child.start()
            child.terminate()
            child.join()
            print(child.exitcode, flush=True)

        with raised_in_objective():
            work()
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    """)
    assert said == (0, [str(-signal.SIGTERM)] * 2)


def test_another_threads_objective_ends_at_once() -> None:
    """Python hands signals to the main thread only, so nothing could be raised there."""
    said = told("""
        def objective():
            with raised_in_objective():
                term()
                time.sleep(60)

        threading.Thread(target=objective, daemon=True).start()
        time.sleep(60)
    """)
    assert said == (-signal.SIGTERM, [])


def test_an_answer_that_a_handler_has_cut_is_passed_by() -> None:
    """The next question gets its own answer."""
    ours, theirs = Pipe()
    line = Line(theirs)  # type: ignore[arg-type]  # typeshed's Pipe gives its own class

    def cut(_number: int, _frame: object) -> None:
        raise TimeoutError("the objective's own alarm")

    before = signal.signal(signal.SIGALRM, cut)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TimeoutError, match="own alarm"):
            line.ask("one")
    finally:
        signal.signal(signal.SIGALRM, before)
    ours.send(Answer("to one"))
    ours.send(Answer("to two"))
    assert line.ask("two") == "to two"
    ours.send(Answer("to three"))
    assert line.ask("three") == "to three"


# -- the host's side -------------------------------------------------------------------------------


def a_live(pid: int) -> Live:
    attempt = Attempt(
        id="r/0.1", trial=Trial(run="r", number=0), device="d", promise_bytes=1,
        cap_bytes=None, started_at_s=0.0,
    )  # fmt: skip
    return Live(attempt=attempt, process=processes.identify(pid))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", -signal.SIGKILL),
        ("pass", -signal.SIGTERM),
    ],
)
def test_killed_when_the_grace_time_is_over(text: str, code: int) -> None:
    """Not before, and not a second time later when it is asked twice."""
    grace_s = 0.3
    script = f"import signal, time; {text}; print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        reactor = Reactor()
        signalling = Signalling(reactor, grace_s)
        live = a_live(child.pid)
        began_s = time.monotonic()
        signalling.stop(live, "for a stranger")
        signalling.stop(live, "the run stops")
        while child.poll() is None and time.monotonic() < began_s + 5:
            reactor.turn(0.01)
        took_s = time.monotonic() - began_s
        reactor.close()
    assert child.returncode == code
    assert live.stopping == "for a stranger"
    if code == -signal.SIGKILL:
        assert took_s >= grace_s


# -- whole runs ------------------------------------------------------------------------------------


def run_and_stop(scripts: Runner, objective: str, way: str = "fork") -> Callable[[], str]:
    """One trial, stopped once it has made the file ``waits``; the log of its first attempt."""
    text = f"""
        import os, pathlib, signal, subprocess, sys, time
        import optuna, scheduler, tell

        def wait():
            pathlib.Path("waits").write_text(str(os.getpid()))
            while True:
                time.sleep(60)

        def objective(trial):
            if "failed_trial" in trial.study.trials[trial.number].system_attrs:
                return 1.0
{textwrap.indent(textwrap.dedent(objective), " " * 12)}

        study = optuna.create_study()
        study.optimize(objective, n_trials=1)
        tell.say(states=[t.state.name for t in study.trials])
    """
    going = scripts.begin(text, "--start", way)
    (waits,) = going.wait_for_files("waits")
    os.kill(int(going.wait_for(waits.read_text, "its pid")), signal.SIGTERM)
    result = going.wait().ok()
    assert result.said["states"] == ["FAIL", "COMPLETE"]
    assert result.status.retried == 1
    return lambda: result.log(0)


@pytest.mark.processes
def test_an_objective_unwinds(scripts: Runner, way: str) -> None:
    """``except Exception`` does not see it, ``with`` and ``finally`` do, exit handlers run, and it
    is no error of the user's: the trial comes back."""
    log = run_and_stop(
        scripts,
        """
        import atexit, tempfile
        atexit.register(lambda: print("at exit", flush=True))
        try:
            with tempfile.TemporaryDirectory() as folder:
                wait()
        except Exception:
            print("taken for an error")
        finally:
            print("removed", not os.path.exists(folder))
        """,
        way,
    )()
    assert log.splitlines() == ["removed True", "at exit"]


@pytest.mark.processes
def test_an_error_while_saving_is_told_in_the_log(scripts: Runner) -> None:
    """And the trial comes back all the same."""
    log = run_and_stop(
        scripts,
        """
        try:
            wait()
        finally:
            open("no/such/folder/last.pt", "wb")
        """,
    )()
    assert "FileNotFoundError" in log


@pytest.mark.processes
def test_whoever_asks_again_does_not_wait_for_the_grace_time(scripts: Runner) -> None:
    """An objective that saves for ever is killed at a second SIGTERM to its run, and comes back."""
    text = """
        import os, pathlib, time
        import optuna

        def objective(trial):
            try:
                pathlib.Path("waits").touch()
                time.sleep(60)
            finally:
                pathlib.Path("saves").touch()
                time.sleep(60)

        optuna.create_study().optimize(objective, n_trials=1)
    """
    going = scripts.begin(text, "--start", "fork")
    going.wait_for_files("waits")
    going.signal(signal.SIGTERM)
    going.wait_for_files("saves")
    assert [t.state.name for t in going_study(going).trials] == ["RUNNING"]
    going.signal(signal.SIGTERM)
    result = going.wait(20)
    assert result.code == 131
    assert [t.state.name for t in result.study().trials] == ["FAIL", "WAITING"]


def going_study(going: Going) -> optuna.Study:
    none = Result(code=0, out="", err="", run=going.run, folder=going.folder)
    return none.study()
