"""What keeps an attempt's mistake its own: torch's cap, the score for the OOM killer, its session.

With the real torch, in processes of their own: a torch that is imported here would stay for all
tests after. What the data limit does is in ``tests/test_on_host.py``.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from script_runs import Runner

from scheduler.study.attempt.prepare import _WhenImported

GPU_CALLS = """
    import sys
    from scheduler.study.attempt.prepare import cap_torch

    def asked():
        '''What we ask of torch when the GPU is initialised: the fractions that are set.'''
        import torch
        assert not torch.cuda.is_initialized()
        fractions = []
        torch.cuda.set_per_process_memory_fraction = fractions.append
        for function, _ in torch.cuda._queued_calls:  # as torch.cuda._lazy_init does
            if function.__module__ == cap_torch.__module__:
                function()
        return fractions
"""


def python(text: str) -> str:
    """What a Python of its own prints that runs *text* after the lines above."""
    code = textwrap.dedent(GPU_CALLS) + textwrap.dedent(text)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def torch_is_there() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")


@pytest.mark.torch
@pytest.mark.processes
@pytest.mark.usefixtures("torch_is_there")
def test_torch_that_is_loaded_is_capped_when_its_gpu_is_initialised() -> None:
    """One call in torch's own queue, and nothing before that: no GPU, no cost."""
    said = python("""
        import torch
        cap_torch(0.375)
        print(asked())
    """)
    assert said == "[0.375]"


@pytest.mark.torch
@pytest.mark.processes
@pytest.mark.usefixtures("torch_is_there")
@pytest.mark.parametrize("statement", ["import torch", "import torch.nn", "from torch import cuda"])
def test_torch_is_capped_when_somebody_imports_it(statement: str) -> None:
    """And is not imported for that: a trial without torch does not wait seconds for it."""
    said = python(f"""
        cap_torch(0.25)
        assert "torch" not in sys.modules
        hooks = len(sys.meta_path)
        import subprocess, json, numpy  # others pass through
        assert "torch" not in sys.modules
        {statement}
        assert len(sys.meta_path) == hooks - 1
        assert sys.modules["torch"].__spec__.name == "torch"
        print(asked())
    """)
    assert said == "[0.25]"


@pytest.mark.torch
@pytest.mark.processes
@pytest.mark.usefixtures("torch_is_there")
def test_a_cap_that_torch_refuses_ends_nothing() -> None:
    """A torch without a GPU takes no fraction; the attempt would not have used one."""
    python("""
        cap_torch(0.25)
        import torch
        torch.cuda._lazy_call = None
        cap_torch(0.5)
    """)


def test_a_module_that_is_not_there_is_missed_as_ever() -> None:
    """The hook steps aside before it looks, so it neither hides the error nor stays."""
    hook = _WhenImported("no_module_of_this_name", lambda module: pytest.fail("it was found"))
    sys.meta_path.insert(0, hook)
    with pytest.raises(ModuleNotFoundError, match="no_module_of_this_name"):
        importlib.import_module("no_module_of_this_name")
    assert hook not in sys.meta_path


@pytest.mark.processes
def test_an_attempt_goes_before_the_host(scripts: Runner, way: str) -> None:
    """The kernel's OOM killer takes an attempt first; a terminal's Ctrl-C does not reach it."""
    text = """
        import optuna, os, pathlib, tell

        def score():
            return int(pathlib.Path("/proc/self/oom_score_adj").read_text())

        def objective(trial):
            trial.set_user_attr("score", score())
            trial.set_user_attr("session", [os.getsid(0), os.getpid()])
            return 0

        study = optuna.create_study()
        study.optimize(objective, n_trials=2)
        seen = [trial.user_attrs for trial in study.trials]
        tell.say(seen=seen, score=score(), session=os.getsid(0))
    """
    said = scripts(text, "--start", way).ok().said
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert said["score"] == own
    assert [one["score"] for one in said["seen"]] == [500, 500]
    sessions = [one["session"] for one in said["seen"]]
    assert all(session == pid for session, pid in sessions)
    assert said["session"] not in [session for session, _ in sessions]
