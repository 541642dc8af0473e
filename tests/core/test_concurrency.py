from __future__ import annotations

from scheduler.core.concurrency import Limit, finished, ran_out, started


def test_an_oom_in_company_halves_what_ran_at_once():
    limit = started(Limit(), 5)
    limit = ran_out(limit, running=5, started_at_s=1, now_s=10)
    assert limit == Limit(at_most=2, most=5, lowered_at_s=10)


def test_ooms_of_one_incident_halve_once():
    limit = ran_out(started(Limit(), 4), running=4, started_at_s=1, now_s=10)
    again = ran_out(limit, running=3, started_at_s=2, now_s=11)
    assert again.at_most == 2


def test_an_oom_in_the_new_company_halves_again_and_never_below_one():
    limit = ran_out(started(Limit(), 4), running=4, started_at_s=1, now_s=10)
    limit = ran_out(limit, running=2, started_at_s=11, now_s=20)
    assert limit.at_most == 1
    limit = ran_out(limit, running=2, started_at_s=21, now_s=30)
    assert limit.at_most == 1


def test_an_oom_without_company_of_ours_changes_nothing_but_the_row():
    before = Limit(at_most=3, most=4, clean=2, lowered_at_s=1)
    assert ran_out(before, running=1, started_at_s=5, now_s=9).at_most == 3
    assert ran_out(before, running=1, started_at_s=5, now_s=9).clean == 0


def test_one_more_after_as_many_clean_finishes_as_may_run_and_no_limit_past_the_most():
    limit, seen = Limit(at_most=2, most=3, lowered_at_s=1), []
    for _ in range(5):
        limit = finished(limit)
        seen.append(limit.at_most)
    assert seen == [2, 3, 3, 3, None]
    assert finished(limit) == limit


def test_an_oom_breaks_the_row_of_clean_finishes():
    limit = finished(Limit(at_most=2, most=3, lowered_at_s=5))
    limit = ran_out(limit, running=2, started_at_s=1, now_s=9)
    assert finished(limit).at_most == 2
