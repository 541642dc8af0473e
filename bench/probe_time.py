"""One poll of 8 AMD cards with 4 attempts each: the kernel's files, and rocm-smi beside them.

Wanted: the files under 2 ms at the median, without a process. rocm-smi (Debian's, where it is
there, as root) reads the same emulated cards, mounted over /sys for it alone.

    python bench/probe_time.py [polls]
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import measure

sys.path.insert(0, str(Path(__file__).parents[1]))
from probes.choose import choose
from probes.reading import Device, Probe, Reading
from tests.emulated.card import EmulatedCard
from tests.emulated.mount import can_mount, seeing
from tests.emulated.tree import eight_cards

GIB = 1 << 30
POLLS = 200
TOOL_POLLS = 10
ATTEMPTS = 4
HOLDS = f"import signal; from tests.emulated import gpu; gpu.hold({GIB}); signal.pause()"


def main() -> None:
    polls = int(sys.argv[1]) if len(sys.argv) > 1 else POLLS
    with (
        tempfile.TemporaryDirectory(prefix="scheduler-bench-") as folder,
        EmulatedCard(Path(folder), *eight_cards()) as card,
    ):
        os.environ.update(card.environment())
        probes = [one.sources[0] for one in choose(sysfs=card.sysfs).used]
        started = {probe.device.key: start(probe.device) for probe in probes}
        trees = {key: tuple(one.pid for one in ones) for key, ones in started.items()}
        try:
            wait_until_held(probes, trees)
            files = [timed(lambda: read_all(probes, trees)) for _ in range(polls)]
            tool = [timed(lambda: ask_rocm_smi(card.sysfs)) for _ in range(tool_polls())]
        finally:
            for process in (one for ones in started.values() for one in ones):
                process.kill()
                process.wait()
    median = statistics.median(files)
    print(f"sysfs and KFD, 8 cards, {8 * ATTEMPTS} attempts: {measure.spread(files)}")
    measure.verdict("a poll, ms", median * 1e3, "under 2", median < 2e-3)
    if tool:
        print(f"rocm-smi for the same, memory and processes: {measure.spread(tool)}")
        print(f"ratio: {statistics.median(tool) / median:.0f}")
    else:
        print("rocm-smi was not measured: it needs root, unshare and the Debian package rocm-smi")


def start(device: Device) -> list[subprocess.Popen[bytes]]:
    """Processes that hold 1 GiB of *device* each, until they are killed."""
    environment = {**os.environ, **{name: value or "" for name, value in device.environment}}
    for name, value in device.environment:
        if value is None:
            del environment[name]
    return [
        subprocess.Popen([sys.executable, "-c", HOLDS], env=environment) for _ in range(ATTEMPTS)
    ]


def read_all(probes: Sequence[Probe], trees: dict[str, tuple[int, ...]]) -> list[Reading]:
    return [probe.read(trees[probe.device.key]) for probe in probes]


def wait_until_held(probes: Sequence[Probe], trees: dict[str, tuple[int, ...]]) -> None:
    deadline_s = time.monotonic() + 30
    while any(
        one.held_bytes != GIB for reading in read_all(probes, trees) for one in reading.held or ()
    ):
        if time.monotonic() > deadline_s:
            raise SystemExit("the emulated attempts did not come up")
        time.sleep(0.05)


def tool_polls() -> int:
    return TOOL_POLLS if can_mount() and shutil.which("rocm-smi") else 0


def ask_rocm_smi(sysfs: Path) -> None:
    options = ["--json", "--showbus", "--showmeminfo", "vram"]
    for asked in (options, ["--json", "--showpids"]):
        command = [*seeing(sysfs), "rocm-smi", *asked]
        said = subprocess.run(command, capture_output=True, check=False).stdout
        if b"{" not in said:
            raise SystemExit(f"rocm-smi said {said!r}")


def timed(do: object) -> float:
    began = time.perf_counter()
    assert callable(do)
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
