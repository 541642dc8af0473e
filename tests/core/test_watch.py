from __future__ import annotations

import msgspec
from scene import CARD, GIB, reading, trial

from scheduler.core.ledger import Claim, balance
from scheduler.core.life import Lease
from scheduler.core.model import Attempt
from scheduler.core.watch import Strain, Victim, is_by_rule, look, victim

OVER = Strain(over=2, over_since_s=0.0)


def lease(
    number: int, promise: int, held: int | None, *, since_s: float = 0.0, strangers: int | None = 0
) -> Lease:
    attempt = Attempt(
        id=f"r/{number}.1",
        trial=trial(number),
        device=CARD,
        promise_bytes=promise,
        cap_bytes=None,
        started_at_s=since_s,
    )
    return Lease(attempt=attempt, held_bytes=held, strangers_bytes=strangers)


def account(used: int | None, *leases: Lease):
    claims = [Claim(one.attempt.promise_bytes, one.held_bytes) for one in leases]
    return balance(reading(used), claims, baseline_bytes=None)


def looked(*useds: int | None, alone: bool = False, promise: int = 0, step_s: float = 1.0) -> bool:
    strain, now_s = Strain(), 0.0
    for used in useds:
        claims = [Claim(promise, 0)] if promise else []
        so = balance(reading(used), claims, baseline_bytes=None)
        strain = look(strain, so, reserve_bytes=2 * GIB, alone=alone, now_s=now_s)
        now_s += step_s
    return strain.is_confirmed(now_s - step_s)


def test_too_much_used_is_looked_at_twice():
    assert not looked(15 * GIB)
    assert looked(15 * GIB, 15 * GIB)
    assert not looked(15 * GIB, 14 * GIB, 15 * GIB)
    assert not looked(15 * GIB, None, 15 * GIB)


def test_one_moment_seen_twice_is_not_looked_at_twice():
    """After an exit readings come 20 ms apart, and four a second while it is tight."""
    assert not looked(15 * GIB, 15 * GIB, step_s=0.02)
    assert not looked(*[15 * GIB] * 3, step_s=0.25)
    assert looked(*[15 * GIB] * 4, step_s=0.25)


def test_promises_that_strangers_grew_into_are_looked_at_for_thirty_seconds():
    assert looked(*[6 * GIB] * 4, promise=10 * GIB, step_s=10)
    assert not looked(*[6 * GIB] * 3, promise=10 * GIB, step_s=10)
    assert not looked(6 * GIB, 6 * GIB, None, 6 * GIB, promise=10 * GIB, step_s=10)


def test_promises_may_eat_half_of_the_reserve():
    assert not looked(*[5 * GIB] * 9, promise=10 * GIB, step_s=10)


def test_the_promise_of_one_that_is_alone_is_not_held_against_it():
    assert not looked(*[6 * GIB] * 9, promise=10 * GIB, step_s=10, alone=True)
    assert looked(15 * GIB, 15 * GIB, promise=10 * GIB, alone=True)


def test_the_one_that_broke_its_promise_goes_before_the_younger():
    broke, young = lease(0, 4 * GIB, 8 * GIB), lease(1, 6 * GIB, 6 * GIB, since_s=9)
    assert victim(OVER, [broke, young], account(15 * GIB, broke, young)) == Victim(
        lease=broke, cause="overrun"
    )


def test_five_in_a_hundred_over_the_promise_is_not_broken():
    near, young = lease(0, 100, 105), lease(1, 100, 100, since_s=9)
    chosen = victim(OVER, [near, young], account(15 * GIB, near, young))
    assert chosen == Victim(lease=young, cause="strangers")


def test_the_youngest_of_those_that_hold_something_goes():
    old, young, new = (
        lease(0, 6 * GIB, 6 * GIB),
        lease(1, 6 * GIB, 5 * GIB, since_s=5),
        lease(2, 1 * GIB, 0, since_s=9),
    )
    leases = [old, young, new]
    assert victim(OVER, leases, account(15 * GIB, *leases)).lease == young
    assert victim(Strain(short_since_s=1.0), leases, account(15 * GIB, *leases)).lease == new


def test_the_one_that_saved_last_loses_least():
    """Of a checkpoint and a start the later counts: what was done since is lost."""
    old, young = lease(0, 6 * GIB, 6 * GIB), lease(1, 6 * GIB, 5 * GIB, since_s=50)
    saved = msgspec.structs.replace(old, saved_at_s=70.0)
    early = msgspec.structs.replace(young, saved_at_s=10.0)
    for leases, goes in (([saved, young], saved), ([old, early], early)):
        assert victim(OVER, leases, account(15 * GIB, *leases)).lease == goes


def test_by_a_rule_the_last_one_goes_and_who_broke_a_promise_goes_no_sooner():
    only, broke = lease(0, 10 * GIB, 10 * GIB), lease(1, 2 * GIB, 4 * GIB)
    so = account(10 * GIB, only)
    assert victim(OVER, [only], so, by_rule=True) == Victim(lease=only, cause="asked")
    young = lease(2, 6 * GIB, 6 * GIB, since_s=9)
    so = account(10 * GIB, broke, young)
    assert victim(OVER, [broke, young], so, by_rule=True) == Victim(lease=young, cause="asked")


def test_it_is_by_a_rule_where_the_usual_reserve_would_be_kept():
    so = account(10 * GIB, lease(0, 11 * GIB, 10 * GIB))
    kept = [(True, 6), (True, 7), (False, 10), (False, 11)]
    answers = [is_by_rule(so, is_over=over, usual_reserve_bytes=n * GIB) for over, n in kept]
    assert answers == [True, False, True, False]
    assert not is_by_rule(account(None), is_over=True, usual_reserve_bytes=0)


def test_the_only_one_stays_while_strangers_have_not_grown():
    only = lease(0, 13 * GIB, 13 * GIB + 1, strangers=1 * GIB)
    assert victim(OVER, [only], account(14 * GIB + 1, only)) is None


def test_the_only_one_goes_where_strangers_have_grown():
    only = lease(0, 10 * GIB, 10 * GIB, strangers=1 * GIB)
    assert victim(OVER, [only], account(15 * GIB, only)) == Victim(lease=only, cause="strangers")


def test_who_took_the_memory_is_unclear_where_processes_cannot_be_told_apart():
    only = lease(0, 10 * GIB, None, strangers=None)
    assert victim(OVER, [only], account(15 * GIB, only)) == Victim(lease=only, cause="unclear")


def test_nobody_of_ours_nobody_goes():
    assert victim(OVER, [], account(16 * GIB)) is None
