"""What a lasting supervisor costs: with nothing to do, and while sixteen attempts report.

Wanted: idle under 0.3 % of a core and under 80 MB resident; with 16 attempts that each report ten
times a second under 10 % of a core. Beside it the host of those attempts, which takes the reports,
and the supervisor on a machine with eight cards.

    python bench/daemon_load.py [seconds]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measure
import psutil

from scheduler.machine.hosts import host_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.emulated.card import EmulatedCard
from tests.emulated.tree import RX_7900_GRE, Model, eight_cards

SECONDS = 60.0
ATTEMPTS = 16
SCRIPT = f"""
import pathlib, sys, time
import optuna
from tests.emulated import gpu

optuna.logging.set_verbosity(optuna.logging.WARNING)

def objective(trial):
    gpu.hold(256 << 20)
    pathlib.Path(f"began.{{trial.number}}").touch()
    begin_s = time.monotonic()
    for step in range(100_000):
        trial.report(trial.suggest_float("x", 0, 1) + 1 / (step + 1), step)
        trial.should_prune()
        time.sleep(max(0.0, begin_s + 0.1 * (step + 1) - time.monotonic()))

optuna.create_study(pruner=optuna.pruners.MedianPruner()).optimize(objective, n_trials={ATTEMPTS})
"""


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with supervisor() as (process, *_):
        idle, resident_bytes = watch(seconds, process)
    with supervisor(*eight_cards()) as (process, *_):
        with_cards, _ = watch(seconds, process)
    with supervisor(RX_7900_GRE) as (process, folder, environment):
        busy, _, hosts = watch(seconds, process, reporting_host(folder, environment))
    print(f"idle beside eight cards: {with_cards:.2g} % of a core")
    print(f"the host of {ATTEMPTS} attempts that report ten times a second: {hosts:.3g} %")
    measure.verdict("idle, % of a core", idle, "under 0.3", idle < 0.3)
    measure.verdict("idle, MB resident", resident_bytes / 1e6, "under 80", resident_bytes < 80e6)
    measure.verdict(f"{ATTEMPTS} attempts, % of a core", busy, "under 10", busy < 10)


@contextmanager
def supervisor(*cards: Model) -> Iterator[tuple[psutil.Process, Path, dict[str, str]]]:
    """A lasting one, once its start is over; on a machine with *cards*, else on this one."""
    with measure.workplace() as (folder, environment), EmulatedCard(folder, *cards) as card:
        environment |= card.environment() if cards else {}
        command = [sys.executable, "-m", "scheduler.daemon", "--lasting"]
        process = psutil.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            measure.wait_for((folder / "state" / "control.sock").exists, "supervisor")
            time.sleep(3)  # its start is not its running
            yield process, folder, environment
        finally:
            measure.run([*measure.SCHEDULER, "stop", "--now"], environment, folder)
            process.wait()


def reporting_host(folder: Path, environment: dict[str, str]) -> psutil.Process:
    """The host of a submitted run, once all its attempts report."""
    (folder / "train.py").write_text(SCRIPT)
    options = ["--max-trials", str(ATTEMPTS), "--memory-per-trial", "512MiB"]
    command = [*measure.SCHEDULER, "submit", *options, "train.py"]
    measure.run(command, environment, folder)
    measure.wait_for(lambda: len([*folder.glob("began.*")]) == ATTEMPTS, "trial for each place")
    time.sleep(3)
    host = host_of(folder / "state" / "runs" / "train-1")
    assert host is not None
    return psutil.Process(host.pid)


def watch(for_s: float, *processes: psutil.Process) -> tuple[float, ...]:
    """Of the first the share of a core in percent and its most bytes resident; of the others the
    shares."""
    before = [busy_s(one) for one in processes]
    began_s = time.monotonic()
    resident_bytes = 0
    while time.monotonic() - began_s < for_s:
        time.sleep(1.0)
        resident_bytes = max(resident_bytes, processes[0].memory_info().rss)
    took_s = time.monotonic() - began_s
    first, *others = (
        (busy_s(one) - then_s) / took_s * 100 for one, then_s in zip(processes, before, strict=True)
    )
    return first, resident_bytes, *others


def busy_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
