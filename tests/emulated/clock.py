"""A clock that can be set, for chosen processes only: the machine's own is not touched.

A library that is loaded before all others (ld.so(8), LD_PRELOAD) answers for the C library's
clocks and adds the seconds that a file holds to the time of day. All processes that inherit the
environment see the same clock, whatever they are written in, and see it set while they run. The
times of files are the kernel's, and stay true; so do monotonic clocks, as on a real machine.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift_s;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *at = mmap(NULL, sizeof *shift_s, PROT_READ, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) shift_s = at;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && shift_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift_s;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec fine;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &fine)) return -1;
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    if (at) *at = fine.tv_sec;
    return fine.tv_sec;
}
"""


class NoClock(Exception):
    """There is no way to shift a clock here; says why."""


class SettableClock:
    """Made in *folder*. Raises NoClock where there is no C compiler or Python asks the kernel
    itself."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoClock("no C compiler")
        source, self._library = folder / "clock.c", folder / "clock.so"
        source.write_text(_SOURCE)
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            raise NoClock(f"the library cannot be made: {made.stderr}")
        self._file = folder / "clock.shift"
        self._file.write_bytes(bytes(8))
        self.shift(-1_000_000)
        read = [sys.executable, "-c", "import time; print(time.time())"]
        told = subprocess.run(read, capture_output=True, text=True, env=self.environment())
        if not told.stdout or abs(float(told.stdout) + 1_000_000 - time.time()) > 60:
            raise NoClock(f"Python's clock cannot be shifted: {told.stdout}{told.stderr}")
        self.shift(0)

    def environment(self) -> dict[str, str]:
        """To be added to a process's."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_SHIFT_FILE": str(self._file)}

    def shift(self, by_s: int) -> None:
        """From now on it is *by_s* later than it is."""
        with open(self._file, "r+b") as file:  # in place: it is mapped
            file.write(struct.pack("=q", by_s))

    def set_to(self, at_s: float) -> None:
        self.shift(round(at_s - time.time()))
