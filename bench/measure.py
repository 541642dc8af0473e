"""What the benchmarks share: a private state folder, running commands, medians, one table."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SCHEDULER = [sys.executable, "-m", "scheduler"]


@contextmanager
def workplace() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder that goes away, and an environment in which the state folder is inside it and
    nothing is configured."""
    with tempfile.TemporaryDirectory(prefix="scheduler-bench-") as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "SCHEDULER_STATE_DIR": str(folder / "state"),
            "SCHEDULER_CONFIG": os.devnull,
        }
        yield folder, environment
        wait_until_gone(folder / "state")


@contextmanager
def going(script: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A run of *script* beside the benchmark, ended with it."""
    path = folder / "train.py"
    path.write_text(script)
    host = subprocess.Popen(
        [*SCHEDULER, "run", str(path)],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        host.terminate()
        host.wait()


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    """Raises where there is no *what* in time."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end_s:
            raise SystemExit(f"no {what} within {deadline_s:.0f} s")
        time.sleep(0.1)


def wait_until_gone(state: Path, deadline_s: float = 15.0) -> None:
    """The supervisor leaves by itself some seconds after its last run."""
    end_s = time.monotonic() + deadline_s
    while (state / "control.sock").exists() and time.monotonic() < end_s:
        time.sleep(0.1)


def run(command: Sequence[str], environment: dict[str, str], folder: Path) -> float:
    """Seconds that *command* took. Raises with its output where it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment, cwd=folder, text=True, capture_output=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return took


def schedule(
    script: Path, options: Sequence[str], environment: dict[str, str], folder: Path
) -> float:
    """Seconds that ``scheduler run`` of *script* took on host RAM."""
    return run([*SCHEDULER, "run", *options, str(script)], environment, folder)


def spread(values: Sequence[float], unit: str = "ms", scale: float = 1e3) -> str:
    """Median and range, for people."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return (
        f"{middle * scale:.3g} {unit} (of {len(values)}: {low * scale:.3g} to {high * scale:.3g})"
    )


def verdict(name: str, value: float, wanted: str, met: bool) -> None:
    """One line of the result."""
    print(f"{'met   ' if met else 'MISSED'}  {name}: {value:.3g}, wanted {wanted}", flush=True)
