"""Both ways in which an attempt starts, and a module that scripts tell their studies with."""

from __future__ import annotations

import pytest
from script_runs import Runner

#: Beside each script, so that it can ``import tell``. What is told must be the same with us and
#: without: all but times, names and our own marks.
TELL = """
    import json

    def trials(study):
        return [
            {
                "number": trial.number,
                "state": trial.state.name,
                "values": repr(trial.values),
                "params": trial.params,
                "distributions": repr(sorted(trial.distributions.items())),
                "steps": repr(sorted(trial.intermediate_values.items())),
                "user": repr(sorted(trial.user_attrs.items())),
                "system": json.dumps({
                    k: v for k, v in sorted(trial.system_attrs.items())
                    if not k.startswith(("scheduler:", "cma:optimizer"))
                }, default=repr),
            }
            for trial in study.trials
        ]

    def say(**facts):
        print(json.dumps(facts), flush=True)
"""


@pytest.fixture(params=["fork", "re-run"])
def way(request: pytest.FixtureRequest) -> str:
    """How attempts start."""
    return str(request.param)


@pytest.fixture
def scripts(run_script: Runner) -> Runner:
    """Runs scripts that may ``import tell``."""
    run_script.write(TELL, "tell.py")
    return run_script
