"""The same comparison with real processes and real memory: host RAM, of which 1 GiB may be used.

    python -m bench.packing.real [--card] [--ray PYTHON] [--trials 40]

40 trials of 60 to 400 MB by two of their parameters, a few seconds each, which they sleep: so only
memory decides. Against plain Optuna with ``n_jobs`` 1, 2, 3, whose process may hold no more than
that GiB either, and against the real Ray Tune with the fraction that its largest trial needs, where
PYTHON is an interpreter that has ``ray[tune]``; its actors are used again, so that a trial starts
at once there as well. Timed from the first trial's begin to the last one's end, so that nobody's
start is counted. The exit code is 1 where something was missed.

With --card: 30 trials of 1.5 to 9 GiB, a second or two each, on the tests' emulated card of 16 GB
of which a desktop holds 1.2 GB. The processes are real, the card's numbers follow what they say
that they hold, and who asks for more than is left fails. Each of plain Optuna's trials is then in
one of ``n_jobs`` processes. Ours is told nothing and keeps its usual reserve; the others take all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psutil

from bench import measure
from bench.packing import real_scripts as scripts
from tests.emulated.card import EmulatedCard

DESKTOP_BYTES = 1_200_000_000
SETTLED_AFTER = 15  #: trials, after which a forecast may be asked for more


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the trials one way. Seconds are between the first begin and the last end."""

    took_s: float
    done: int
    ran_out: int  #: runs that ended for want of memory, tried again or not
    late_rate: float  #: seconds of work a second, after the first trials


def read(log: Path) -> Way:
    """Of what the trials wrote down. Raises where fewer than the first trials ended well."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    well = sorted((line for line in lines if line[3] is not None), key=lambda line: line[2])
    if len(well) <= SETTLED_AFTER:
        raise SystemExit(f"only {len(well)} trials ended well: too few to measure")
    began_s, ended_s = min(line[1] for line in lines), well[-1][2]
    from_s = well[SETTLED_AFTER - 1][2]
    late = sum(max(0.0, min(1.0, (end - from_s) / (end - began))) * span
               for _, began, end, span in well)  # fmt: skip
    return Way(
        took_s=ended_s - began_s,
        done=len(well),
        ran_out=len(lines) - len(well),
        late_rate=late / (ended_s - from_s),
    )


def main() -> None:
    options = _options()
    trials = options.trials or (30 if options.card else 40)
    asked = scripts.settings(trials)
    with (
        measure.workplace() as (folder, environment),
        _world(options.card, folder, environment) as world,
    ):
        table = folder / "settings.json"
        table.write_text(json.dumps(asked))
        ways: dict[str, Way] = {}

        def run(name: str, source: str, before: Sequence[str], after: Sequence[str]) -> None:
            log, script = folder / f"{len(ways)}.jsonl", folder / f"train{len(ways)}.py"
            named = {"log": str(log), "settings": str(table), "storage": str(folder / "ray")}
            script.write_text((world.train + source).format(**named))
            measure.run([*before, str(script), *after], environment, folder)
            ways[name] = read(log)
            _say(name, ways[name], trials)

        for jobs in ("1", "2", "3"):
            run(f"Optuna, n_jobs={jobs}", scripts.STUDY, [sys.executable], [jobs, world.limit])
        ours = [*measure.SCHEDULER, "run", *([] if options.card else _kept_free())]
        run("scheduler run", scripts.STUDY, ours, ["1", "none"])
        slots = int(world.budget_bytes // max(map(world.peak_bytes, asked)))
        if options.ray is None:
            print("Ray Tune                not run: give --ray an interpreter that has ray[tune]")
        elif (why := _cannot_ray(options.ray)) is not None:
            print(f"Ray Tune                not run: {why}")
        else:
            run(
                f"Ray Tune, 1/{slots} each",
                scripts.RAY,
                [options.ray],
                [str(slots), str(world.cards)],
            )
    sys.exit(0 if judge(ways, trials) else 1)


def _say(name: str, told: Way, trials: int) -> None:
    print(
        f"{name:24s}{told.took_s:7.1f} s  {told.done / told.took_s * 3600:6.0f} trials"
        f" an hour  {told.late_rate:5.2f} x alone after {SETTLED_AFTER} trials"
        f"  lost {trials - told.done}, out of memory {told.ran_out} times",
        flush=True,
    )


def judge(ways: dict[str, Way], trials: int) -> bool:
    """Throughput after the first trials, from which sizes are learned, against the others' then."""
    ours = ways["scheduler run"]
    measure.verdict("trials lost", trials - ours.done, "0", ours.done == trials)
    met = ours.done == trials
    for name, least in (("Optuna, n_jobs=1", 2.5), ("Ray Tune", 1.6)):
        for other, way in ways.items():
            if other.startswith(name):
                ratio = ours.late_rate / way.late_rate
                measure.verdict(f"times {other}", ratio, f"at least {least}", ratio >= least)
                met = met and ratio >= least
                print(f"        over all, learning too: {way.took_s / ours.took_s:.3g}")
    return met


@contextlib.contextmanager
def _world(on_card: bool, folder: Path, environment: dict[str, str]) -> Iterator[scripts.World]:
    """Fills in the environment where there is a card."""
    if not on_card:
        yield scripts.host()
        return
    with EmulatedCard(folder) as card, card.stranger(DESKTOP_BYTES):
        environment.update(card.environment())
        yield scripts.card(card.models[0].total_bytes - card.used_bytes())


def _kept_free() -> list[str]:
    """Of our run: so much that the budget is what is left."""
    reserve = psutil.virtual_memory().available - scripts.GIB
    if reserve < 0:
        raise SystemExit("needs 1 GiB of free memory")
    return ["--reserve", str(reserve), "--memory-per-trial", "450MB", "--max-trials", "16"]


def _cannot_ray(python: str) -> str | None:
    try:
        command = [python, "-c", "from ray import tune"]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip() or "?").splitlines()[-1]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--card", action="store_true")
    parser.add_argument("--ray", metavar="PYTHON", default=None)
    parser.add_argument("--trials", type=int, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
