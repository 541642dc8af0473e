"""How long a million simulated events take, the core's decisions included.

    python -m bench.simulate_speed [--events 100000] [--cards 1]

Trials of 1.5 to 9 GiB on cards of 16 GB, told by forecasts, a poll a second and none left out.
Besides, the same with decisions that are played back: what the world alone costs. One process, its
own CPU time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator

from bench.measure import verdict
from scheduler import loop
from scheduler.core.actions import Action
from scheduler.core.core import Core
from scheduler.core.events import Event
from scheduler.simulate.outcome import play
from scheduler.simulate.workload import CardSpec, Drawn, Workload

GIB, GB = 1 << 30, 10**9
WANTED_S = 60.0
CARD = CardSpec(total_bytes=16 * GB, reserve_bytes=int(1.6 * GB), strangers=((0.0, int(1.2 * GB)),))


class Recorder:
    """Keeps what the core says."""

    def __init__(self) -> None:
        self.core, self.said = Core(), list[tuple[Action, ...]]()

    def handle(self, event: Event) -> Iterable[Action]:
        actions = self.core.handle(event)
        self.said.append(actions)
        return actions


class Player:
    """Says it again."""

    def __init__(self, said: list[tuple[Action, ...]]) -> None:
        self.said: Iterator[tuple[Action, ...]] = iter(said)

    def handle(self, event: Event) -> Iterable[Action]:
        return next(self.said)


def workload(events: int, cards: int) -> Workload:
    """About so many events: a trial of 900 s has one each second, shared with its neighbours."""
    drawn = Drawn(
        count=max(20, events * cards // 600),
        peak_bytes=(int(1.5 * GIB), 9 * GIB),
        duration_s=(300.0, 1500.0),
        ramp_s=(10.0, 60.0),
        use=(0.4, 0.7),
        steps=20,
    )
    return Workload(cards=(CARD,) * cards, drawn=drawn)


def played(given: Workload, brain: loop.Brain) -> tuple[int, float]:
    """Events, and the CPU time that they took."""
    jobs = iter(given.jobs(given.n_trials, 0))
    cards = [card.card(number) for number, card in enumerate(given.cards)]
    began_s = time.process_time()
    outcome = play(cards, given.run(), lambda: next(jobs), given.n_trials, brain=brain, calm_s=None)
    return outcome.events, time.process_time() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--cards", type=int, default=1)
    asked = parser.parse_args()
    given, recorder = workload(asked.events, asked.cards), Recorder()
    events, all_s = played(given, recorder)
    _, world_s = played(given, Player(recorder.said))
    took_s, alone_us = all_s / events * 1e6, world_s / events * 1e6
    print(f"{events} events: {took_s:.0f} us each, the world alone {alone_us:.0f}")
    verdict("a million events, s", took_s, f"under {WANTED_S:.0f}", took_s < WANTED_S)


if __name__ == "__main__":
    main()
