"""The races of a workload, and what they are judged by. Ratios are of one seed, then the median."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec

from bench.measure import verdict
from bench.packing.clairvoyant import lower_bound_s
from bench.packing.field import LAWS, Result, ours, race, reserve_of
from bench.packing.rivals import CLAIRVOYANT, FIXED, RIVALS
from bench.packing.workloads import WORKLOADS

OURS, CLAIRVOYANT_BEST, BEST_FIXED = "ours", "clairvoyant", "best fixed number"


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """All races of one seed."""

    results: dict[str, Result]
    bound_s: float

    @property
    def ours(self) -> Result:
        return self.results[OURS]

    def against(self, name: str) -> float:
        """Our throughput by that of *name*, from the first trial to the last."""
        return self.ours.rate / self.results[name].rate

    def late_against(self, name: str) -> float:
        """Ours after the first 30 trials by that of *name* over all."""
        return self.ours.late_rate / self.results[name].rate

    def soon_against(self, name: str) -> float:
        """The same after the first 20."""
        return self.ours.soon_rate / self.results[name].rate

    def lossless(self) -> Result:
        """The fastest of the ``n_jobs`` that lost no trial."""
        results = [self.results[f"n_jobs={jobs}"] for jobs in (1, 2, 3)]
        return max((one for one in results if not one.lost), key=lambda one: one.rate)


def seed_of(name: str, seed: int, law: str) -> Seed:
    case = WORKLOADS[name](seed)
    reserve = reserve_of(case)
    results = {way: race(case, make(case, reserve), law) for way, make in RIVALS.items()}
    known = [race(case, make(case, reserve), law) for make in CLAIRVOYANT.values()]
    results[CLAIRVOYANT_BEST] = max(known, key=lambda one: one.rate)
    if name == "contention":
        fixed = [race(case, make(case, reserve), law) for make in FIXED.values()]
        results[BEST_FIXED] = max(fixed, key=lambda one: one.rate)
    results[OURS] = ours(case, law)
    return Seed(results=results, bound_s=lower_bound_s(case, LAWS[law], reserve))


def median(seeds: Sequence[Seed], of: Callable[[Seed], float]) -> float:
    return statistics.median(of(seed) for seed in seeds)


def show(name: str, law: str, seeds: Sequence[Seed]) -> None:
    """A line for each way."""
    print(f"\n{name}, contention: {law}, {len(seeds)} seeds (medians)")
    print(
        f"  {'':22s}{'hours':>7s}{'x alone':>9s}{'ours is':>9s}"
        f"{'ran out':>9s}{'done again':>12s}{'lost':>6s}"
    )
    for way in seeds[0].results:
        print(f"  {way:22s}{_line(way, seeds)}")
    bound = median(seeds, lambda seed: seed.bound_s / 3600)
    print(f"  {'nobody is below':22s}{bound:7.1f}")


def _line(way: str, seeds: Sequence[Seed]) -> str:
    def middle(of: Callable[[Result], float]) -> float:
        return median(seeds, lambda seed: of(seed.results[way]))

    against = median(seeds, lambda seed: seed.against(way))
    return (
        f"{middle(lambda one: one.took_s / 3600):7.1f}"
        f"{middle(lambda one: one.rate):9.2f}"
        f"{'' if way == OURS else f'{against:.2f}x':>9s}"
        f"{middle(lambda one: one.out / max(1, one.starts)):9.1%}"
        f"{middle(lambda one: one.redone):12.1%}"
        f"{middle(lambda one: one.lost):6.0f}"
    )


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A number and the bound that it has to keep, either from below or from above."""

    what: str
    of: Callable[[Seed], float]
    least: float | None = None
    most: float | None = None
    always: bool = False  #: of each seed, not of the median

    def judge(self, name: str, seeds: Sequence[Seed]) -> bool:
        value = max(map(self.of, seeds)) if self.always else median(seeds, self.of)
        met = (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )
        bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        verdict(f"{name}, {self.what}", value, bound, met)
        return met


NO_LOSS = (
    Wanted(what="trials lost", of=lambda seed: seed.ours.lost, most=0, always=True),
    Wanted(
        what="GiB taken beyond what was free",
        of=lambda seed: seed.ours.taken_bytes / 2**30,
        most=0,
        always=True,
    ),
)


def late_by_clairvoyant(least: float) -> Wanted:
    return Wanted(
        what="of the clairvoyant's throughput, after 30 trials",
        of=lambda seed: seed.late_against(CLAIRVOYANT_BEST),
        least=least,
    )


PACKED = (
    late_by_clairvoyant(0.93),
    Wanted(
        what="times Ray's safe fraction",
        of=lambda seed: seed.against("Ray, safe fraction"),
        least=1.6,
    ),
    Wanted(
        what="times one p95 promise", of=lambda seed: seed.against("one p95 promise"), least=1.6
    ),
    Wanted(
        what="starts that ran out, after 30", of=lambda seed: seed.ours.late_out_share, most=0.02
    ),
    Wanted(what="device time done again", of=lambda seed: seed.ours.redone, most=0.02),
    *NO_LOSS,
)
#: By workload and law of contention.
WANTED: dict[tuple[str, str], tuple[Wanted, ...]] = {
    ("mixed", "none"): (
        Wanted(what="times one at a time", of=lambda seed: seed.against("n_jobs=1"), least=2.5),
        *PACKED,
    ),
    ("mixed", "measured"): PACKED,
    ("founding", "measured"): (
        Wanted(
            what="of the best n_jobs without a loss",
            of=lambda seed: seed.ours.rate / seed.lossless().rate,
            least=0.999,  # a poll comes half a second after an end, and trials take minutes
        ),
        *NO_LOSS,
    ),
    **{
        (name, "none"): (late_by_clairvoyant(0.85), *NO_LOSS)
        for name in ("stranger", "drift", "spikes")
    },
    **{(name, "none"): NO_LOSS for name in ("heavy", "slow", "fast", "four", "eight")},
    ("contention", "measured"): (
        Wanted(
            what="of the best fixed number, after 20 trials",
            of=lambda seed: seed.soon_against(BEST_FIXED),
            least=0.95,
        ),
        *NO_LOSS,
    ),
}
