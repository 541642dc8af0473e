"""200 SIGKILLs at random moments of a run of 300 trials on an emulated card of 16 GB.

A lasting supervisor (the daemon) keeps a submitted run. Killed are it, the run's host and attempts,
in proportion 1:1:3. Nobody helps them up but whoever would: a host starts the daemon that it
misses, a daemon the host; where both are gone, the daemon is started after 5 s, as systemd would.

Wanted: every trial in exactly one final state, none lost, none told twice, no process left, no
promise left; a daemon's death costs under 2 s of admissions and no training. Exit code 1 where
anything of this does not hold.

    python bench/chaos.py [--quick] [--seed N] [--kills N] [--trials N] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import chaos_record as record
import measure
import optuna
from chaos_record import Law
from chaos_run import RUN, Chaos
from optuna.trial import FrozenTrial

sys.path.insert(0, str(Path(__file__).parents[1]))
from scheduler.machine.state import StateFolder
from scheduler.study.keeping.record import PUT_BACK
from scheduler.study.keeping.storage import DurableStorage
from tests.emulated.card import EmulatedCard

ENQUEUED = [number / 100 for number in range(10)]
SCRIPT = f"""
import os, time
import optuna
from tests.emulated import gpu

optuna.logging.set_verbosity(optuna.logging.WARNING)

def note(what, number, *value):
    with open(f"/proc/{{os.getpid()}}/stat") as file:
        ticks = file.read().rpartition(")")[2].split()[19]
    line = " ".join(map(str, (time.time(), what, number, os.getpid(), ticks, *value)))
    file = os.open("notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{{line}}\\n".encode())
    os.close(file)

def objective(trial):
    note("began", trial.number)
    x = trial.suggest_float("x", 0, 1)
    peak = trial.suggest_float("gib", 1, 2.8)
    steps = trial.suggest_int("steps", 15, 35)
    for step in range(steps):
        gpu.hold(int(peak * (step + 1) / steps * (1 << 30)))
        time.sleep(0.1)
        trial.report(x, step)
        prune = trial.should_prune()
        note("report", trial.number)
        if prune:
            note("pruned", trial.number)
            raise optuna.TrialPruned
    note("finish", trial.number, x)
    return x

pruner = optuna.pruners.PercentilePruner(80, n_startup_trials=10, interval_steps=10)
study = optuna.create_study(pruner=pruner)
for x in {ENQUEUED}:
    study.enqueue_trial({{"x": x}})
study.optimize(objective, callbacks=[lambda _, trial: note("told", trial.number)])
"""


def judge(chaos: Chaos, card: EmulatedCard) -> list[Law]:
    promises = chaos.promises_left()
    notes = record.read_notes(chaos.folder / "notes")
    left = chaos.processes_left(notes)
    study = study_of(chaos.state)
    lives = record.lives_of(notes)
    training = record.training_of(lives, chaos.kills)
    describe(chaos, study, training)
    host_kills = sum(kill.kind == "host" for kill in chaos.kills)
    outlived_s = chaos.watch.outlived_s
    return [
        *record.outcome_laws(study, chaos.trials, ENQUEUED),
        *record.telling_laws(study, notes, host_kills),
        *record.life_laws(study, lives, chaos.kills),
        record.none_of("processes left", left),
        record.none_of("promises left", promises),
        record.none_of("card memory left", [*card.held_bytes()]),
        Law(
            "the longest of a promise without its process, s",
            outlived_s,
            "under 15",
            outlived_s < 15,
        ),
        *record.admission_laws(chaos.watch.recoveries),
        *record.training_laws(training),
    ]


def study_of(state: StateFolder) -> list[FrozenTrial]:
    storage = DurableStorage(state.run(RUN) / "study-0.db")
    (study,) = storage.get_all_studies()
    return optuna.load_study(study_name=study.study_name, storage=storage).trials


def describe(chaos: Chaos, study: Sequence[FrozenTrial], training: record.Training) -> None:
    kinds = counted(kill.kind for kill in chaos.kills)
    finals = counted(trial.state.name for trial in study if PUT_BACK not in trial.system_attrs)
    took_s = chaos.kills[-1].at_s - chaos.kills[0].at_s
    print(f"killed within {took_s:.0f} s: {kinds}; became of the trials: {finals}")
    print(f"{len(study) - chaos.trials} attempts came back")
    print(f"daemons started as systemd would, nobody else being left: {chaos.watch.started}")
    lost_s = [one.lost_s for one in chaos.watch.recoveries if not one.alone]
    for name, values in (
        ("admissions held where a host or another daemon was killed too", lost_s),
        ("report to report, usually", training.usual_s),
        ("report to report across a daemon's death", training.across_s),
    ):
        if values:
            print(f"{name}: {measure.spread(values, 's', 1)}")


def counted(names: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="10 kills over 20 trials")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="put what was written there")
    asked = parser.parse_args()
    if asked.quick:
        asked.kills, asked.trials = 10, 20
    return asked


def main() -> int:
    asked = arguments()
    with measure.workplace() as (folder, environment), EmulatedCard(folder) as card:
        environment |= card.environment()
        planned = {"trials": asked.trials, "kills": asked.kills, "seed": asked.seed}
        chaos = Chaos(folder, environment, **planned)
        try:
            chaos.run(SCRIPT)
            laws = judge(chaos, card)
        finally:
            chaos.end()
            if asked.keep is not None:
                keep(chaos, asked.keep)
    for law in laws:
        measure.verdict(law.name, law.value, law.wanted, law.holds)
    return 0 if all(law.holds for law in laws) else 1


def keep(chaos: Chaos, folder: Path) -> None:
    """What is needed to find out what went wrong."""
    shutil.copytree(chaos.folder, folder, ignore=shutil.ignore_patterns("emulated", "*.sock"))
    lines = [f"{kill.at_s:.3f} {kill.kind} {kill.process.pid}\n" for kill in chaos.kills]
    (folder / "kills").write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main())
