"""What an attempt counts itself: a spike that no poll sees."""

from __future__ import annotations

import os
import time

import pytest

from scheduler.study.attempt.own_peak import OwnPeak

SPIKE_BYTES = 64 << 20


@pytest.mark.processes
def test_a_spike_is_counted_in_a_fork_and_what_was_there_before_is_not() -> None:
    before = b"1" * SPIKE_BYTES
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        peak = OwnPeak(on_host=True)
        spike = bytearray(SPIKE_BYTES)
        spike[::4096] = b"1" * len(spike[::4096])
        del spike
        os.write(write, str(peak.read()).encode())
        os._exit(0)
    os.close(write)
    deadline_s = time.monotonic() + 60
    with open(read) as told:
        seen = int(told.read())
    os.waitpid(pid, 0)
    assert time.monotonic() < deadline_s
    assert len(before) == SPIKE_BYTES
    assert SPIKE_BYTES * 0.9 <= seen < SPIKE_BYTES * 1.6


def test_without_a_gpu_in_use_there_is_no_count() -> None:
    assert OwnPeak(on_host=False).read() is None
