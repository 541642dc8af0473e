"""A script runs as if Python had been given it: its name, arguments, folder, exit code, output."""

from __future__ import annotations

import re

import pytest
from script_runs import Runner

pytestmark = pytest.mark.processes


def test_names_and_arguments(scripts: Runner, way: str) -> None:
    """``__name__``, ``__file__``, ``sys.argv``, ``sys.path[0]`` and the working folder, in the
    script and in its attempts; a module of its folder and its guard ``if __name__ == ...`` work."""
    scripts.write("value = 3\n", "work/beside.py")
    text = """
        import os, sys
        import optuna
        import beside

        def facts():
            return [__name__, __file__, sys.argv, sys.path[0], os.getcwd(), beside.value,
                    sys.modules["__main__"].__dict__ is globals()]

        def objective(trial):
            trial.set_user_attr("facts", facts())
            return 0.0

        def main():
            import json
            study = optuna.create_study()
            study.optimize(objective, n_trials=1)
            print(json.dumps([facts(), study.trials[0].user_attrs["facts"]]))

        if __name__ == "__main__":
            main()
    """
    path = str(scripts.write(text, "work/train.py"))
    named = {"target": "work/train.py", "arguments": ("--epochs", "3", "--help", "-x", "a b")}
    ours = scripts(None, "--start", way, **named).ok()
    host, attempt = ours.said
    assert host == attempt
    plain_argv = ["work/train.py", *named["arguments"]]
    own = str(scripts.own)
    assert host == ["__main__", "work/train.py", plain_argv, f"{own}/work", own, 3, True]
    assert path == f"{own}/work/train.py"


def test_objects_of_the_script_reach_the_objective(scripts: Runner, way: str) -> None:
    """Globals, closures, lambdas, partials, bound methods and callable objects."""
    text = """
        from functools import partial
        import optuna, tell

        table = {"a": [1, {"deep": (2, 3)}]}

        def main():
            local = bytearray(b"data" * 1000)

            class Model:
                def __init__(self, bias):
                    self.bias = bias
                def method(self, trial):
                    return self.bias + len(local)
                def __call__(self, trial, more=0):
                    return self.bias + more + table["a"][1]["deep"][1]

            def nested(trial):
                local.append(1)  # in the attempt's own copy
                return len(local) + table["a"][0]

            study = optuna.create_study()
            for objective in (nested, Model(1).method, Model(2), partial(Model(3), more=4)):
                study.optimize(objective, n_trials=1)
            tell.say(values=[t.value for t in study.trials], own=len(local))

        main()
    """
    said = scripts(text, "--start", way).ok().said
    assert said == {"values": [4002.0, 4001.0, 5.0, 10.0], "own": 4000}


def test_without_optimize(scripts: Runner) -> None:
    """The script runs to its end, and we say that nothing was scheduled."""
    result = scripts("print('nothing to do')\n").ok()
    assert result.out == "nothing to do\n"
    assert "without calling Study.optimize" in result.err
    assert result.status.state == "finished"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('it went wrong')", 1, "it went wrong"),
    ],
)
def test_exit_codes_are_the_scripts_own(scripts: Runner, line: str, code: int, said: str) -> None:
    """``sys.exit`` means what it means to Python."""
    result = scripts(f"import sys\n{line}\n")
    assert result.code == code
    assert said in result.err
    assert result.status.state == ("finished" if code == 0 else "failed")


def test_a_script_that_raises_before_optimize(scripts: Runner) -> None:
    """Its own traceback as Python prints it, and not ours."""
    text = """
        import optuna

        def prepare():
            return {}["missing"]

        prepare()
    """
    plain = scripts.plain(text)
    ours = scripts(None, target="script.py")
    assert ours.code == plain.code == 1
    shorter = plain.err.replace(str(scripts.own / "script.py"), "script.py")
    assert ours.err.strip() == shorter.strip()
    assert ours.status.state == "failed"
    assert "missing" in (ours.status.error or "")


def test_a_script_that_is_no_python(scripts: Runner) -> None:
    """A syntax error is shown as Python shows it."""
    result = scripts("import optuna\ndef broken(:\n")
    assert result.code == 1
    assert "SyntaxError" in result.err
    assert not re.search(r'File ".*/scheduler/', result.err)


def test_exit_in_an_objective_ends_no_more_than_the_attempt(scripts: Runner, way: str) -> None:
    """What the script holds (a temporary folder, exit handlers) outlives every attempt, and each
    attempt's own handlers and buffered output are not lost."""
    text = """
        import atexit, optuna, os, pathlib, sys, tell, tempfile, threading, time, weakref

        class Thing:
            pass

        thing = Thing()
        folder = tempfile.TemporaryDirectory()
        host = os.getpid() if not pathlib.Path("host").exists() else None
        if host:
            pathlib.Path("host").write_text(str(host))
        atexit.register(lambda: print("exit of", "host" if os.getpid() == host else "another",
                                      flush=True))
        weakref.finalize(thing, lambda: pathlib.Path("finalized").open("a").write("once "))

        def slow():
            time.sleep(0.3)
            pathlib.Path("thread").touch()

        def objective(trial):
            atexit.register(lambda: pathlib.Path(f"handler-{trial.number}").touch())
            threading.Thread(target=slow).start()
            sys.stdout.write("printed and not flushed")
            if trial.number == 0:
                sys.exit(3)
            return 0.0

        study = optuna.create_study()
        study.optimize(objective, n_trials=2, catch=(Exception,) if False else BaseException)
        tell.say(states=[t.state.name for t in study.trials],
                 folder=os.path.isdir(folder.name), finalized=os.path.exists("finalized"))
    """
    result = scripts(text, "--start", way, "--max-trials", "1").ok()
    first = result.out.strip().splitlines()[0]
    assert '"folder": true' in first
    assert '"states": ["FAIL", "COMPLETE"]' in first
    assert "exit of host" in result.out
    assert {path.name for path in scripts.own.glob("handler-*")} == {"handler-0", "handler-1"}
    assert (scripts.own / "thread").exists()
    assert "printed and not flushed" in result.log(0)
    assert "printed and not flushed" in result.log(1)
    if way == "fork":
        assert '"finalized": false' in first
        assert (scripts.own / "finalized").read_text() == "once "
        assert "another" not in result.out + result.log(0) + result.log(1)


def test_output_and_input_of_attempts(scripts: Runner, way: str) -> None:
    """Standard output and error, of the objective and of what it starts, are in the log; there is
    nothing to read."""
    text = """
        import logging, optuna, os, subprocess, sys, tell
        import warnings

        print("script's own line", flush=True)

        def objective(trial):
            print("objective out", trial.number)
            print("objective err", file=sys.stderr)
            os.system("echo from a child")
            warnings.warn("watch out")
            logging.getLogger("mine").error("logged")
            try:
                input()
            except EOFError:
                print("end of input")
            print(os.readlink("/proc/self/fd/0"), sys.stdin.read() == "")
            return 0.0

        study = optuna.create_study()
        study.optimize(objective, n_trials=2)
        tell.say(n=len(study.trials))
    """
    result = scripts(text, "--start", way).ok()
    assert result.out.splitlines()[0] == "script's own line"
    assert "objective" not in result.out
    assert result.run is not None
    shown = scripts.command("logs", result.run, "1")
    assert shown.returncode == 0, shown.stderr
    for line in ("objective out 1", "objective err", "from a child", "UserWarning: watch out",
                 "logged", "end of input", "/dev/null True"):  # fmt: skip
        assert line in shown.stdout
    assert "objective out 0" not in shown.stdout


def test_chance(scripts: Runner, way: str) -> None:
    """Each trial draws other numbers, whatever the script has seeded; a script that seeds draws
    the same in each run."""
    text = """
        import optuna, random, tell
        import numpy as np

        random.seed(1)
        np.random.seed(1)

        def objective(trial):
            trial.set_user_attr("drawn", [random.random(), float(np.random.rand())])
            return 0.0

        study = optuna.create_study()
        study.optimize(objective, n_trials=3)
        tell.say(drawn=[t.user_attrs["drawn"] for t in study.trials], after=random.random())
    """
    first = scripts(text, "--start", way).ok().said
    again = scripts(None, "--start", way, target="script.py").ok().said
    assert first == again
    for drawn in zip(*first["drawn"], strict=True):
        assert len(set(drawn)) == 3


def test_module_and_function(scripts: Runner, way: str) -> None:
    """``MODULE:FUNCTION`` with a study made from the command line."""
    scripts.write("", "package/__init__.py")
    scripts.write(
        """
        from . import sizes

        def objective(trial):
            return trial.suggest_int("x", 0, sizes.LARGEST)
        """,
        "package/training.py",
    )
    scripts.write("LARGEST = 5\n", "package/sizes.py")
    options = ("--n-trials", "3", "--direction", "maximize", "--storage", "sqlite:///s.db")
    result = scripts(
        None, "--start", way, *options, "--study-name", "s", target="package.training:objective"
    ).ok()
    import optuna

    study = optuna.load_study(study_name="s", storage=f"sqlite:///{scripts.own}/s.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert study.direction.name == "MAXIMIZE"
    assert result.status.complete == 3


@pytest.mark.parametrize("target", ["nowhere:objective", "tell:nothing", "missing.py"])
def test_a_target_that_is_not_there(scripts: Runner, target: str) -> None:
    """One sentence and exit code 2."""
    result = scripts(None, target=target)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert target.split(":")[0] in result.err


def test_a_file_of_the_users_named_like_us(scripts: Runner, way: str) -> None:
    """A module ``scheduler`` of the script's folder (of learning rates, say) does not stop us."""
    scripts.write("rate = 0.1\n", "scheduler.py")
    text = """
        import optuna, tell
        study = optuna.create_study()
        study.optimize(lambda trial: 0.0, n_trials=1)
        tell.say(n=len(study.trials))
    """
    environment = {"PYTHONSAFEPATH": "1"}  # the test's own `python -c` looks in the folder too
    assert scripts(text, "--start", way, environment=environment).ok().said["n"] == 1


def test_signals_are_pythons_own_in_an_attempt(scripts: Runner, way: str) -> None:
    """SIGINT of a terminal does not reach an attempt, SIGPIPE stays ignored. SIGTERM raises in the
    objective (test_stopping) and is what it was in what the objective forks."""
    text = """
        import optuna, os, signal, tell

        def in_a_fork(check):
            pid = os.fork()
            if pid == 0:
                os._exit(not check())
            return os.waitpid(pid, 0)[1] == 0

        def objective(trial):
            trial.set_user_attr("handlers", [
                in_a_fork(lambda: signal.getsignal(signal.SIGTERM) == signal.SIG_DFL),
                signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
                signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN,
                signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
                os.getsid(0) == os.getpid(),
                sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
                int(open("/proc/self/oom_score_adj").read()) > 0,
            ])
            return 0.0

        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        study = optuna.create_study()
        study.optimize(objective, n_trials=1)
        after = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        tell.say(handlers=study.trials[0].user_attrs["handlers"], same=before == after)
    """
    said = scripts(text, "--start", way).ok().said
    assert said == {"handlers": [True, True, True, True, True, [], True], "same": True}
