"""What the supervisor costs while it watches 8 emulated cards at one poll a second.

Wanted: under 1 % of a core and under 80 MB resident.

    python bench/supervisor_load.py [seconds]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import measure
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.emulated.card import EmulatedCard
from tests.emulated.tree import eight_cards

SECONDS = 60.0


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with measure.workplace() as (folder, environment), EmulatedCard(folder, *eight_cards()) as card:
        environment |= card.environment()
        daemon = [sys.executable, "-m", "scheduler.daemon", "--linger", "3600"]
        process = psutil.Process(subprocess.Popen(daemon, env=environment).pid)
        try:
            wait_until_listening(folder / "state")
            time.sleep(3)  # its start is not its running
            before = process.cpu_times()
            began = time.monotonic()
            time.sleep(seconds)
            after = process.cpu_times()
            took = time.monotonic() - began
            resident = process.memory_info().rss
        finally:
            process.terminate()
            process.wait()
    share = (after.user + after.system - before.user - before.system) / took * 100
    measure.verdict("share of a core, %", share, "under 1", share < 1)
    measure.verdict("resident, MB", resident / 1e6, "under 80", resident < 80e6)


def wait_until_listening(state: Path) -> None:
    deadline_s = time.monotonic() + 15
    while not (state / "control.sock").exists():
        if time.monotonic() > deadline_s:
            raise SystemExit("the supervisor did not come up")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
