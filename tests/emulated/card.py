"""An emulated machine with AMD cards, whose memory numbers follow real processes.

    with EmulatedCard(tmp_path) as card:
        subprocess.Popen([...], env=os.environ | card.environment())

A worker calls ``tests.emulated.gpu.hold``; the tree under ``card.sysfs`` says what it holds, until
it ends, however it ends. Emulated are the files and what runs out when; not emulated are speed, the
delay with which a real driver frees, and eviction to system memory.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.emulated import gpu, tree
from tests.emulated.kernel import Kernel, card_at, used_bytes
from tests.emulated.tree import RX_7900_GRE, Model

#: Where the daemon looks for sysfs.
SYSFS_ROOT = "SCHEDULER_SYSFS_ROOT"

#: A worker that imports tests.emulated.gpu finds it from here.
_CODE = Path(__file__).parents[2]

_LOOK_EVERY_S = 0.05


class EmulatedCard:
    """One or more cards. Methods without an address speak of the first."""

    def __init__(self, folder: Path, *models: Model) -> None:
        self.models = models or (RX_7900_GRE,)
        self.folder = folder / "emulated"
        self._kernel = Kernel(self.folder)
        self.sysfs = self._kernel.sysfs
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow_exits, name="emulated-kernel")

    def __enter__(self) -> EmulatedCard:
        self.sysfs.mkdir(parents=True)
        tree.build(self.sysfs, self.models)
        cards = [_card(number, model) for number, model in enumerate(self.models)]
        self._kernel.create({"cards": cards, "holders": [], "strangers": {}, "pid_offset": 0})
        with self._kernel.books():
            pass
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.mend()
        self._done.set()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        """What the daemon and the workers must have in their environment."""
        path = os.pathsep.join(filter(None, [str(_CODE), os.environ.get("PYTHONPATH")]))
        return {gpu.FOLDER: str(self.folder), SYSFS_ROOT: str(self.sysfs), "PYTHONPATH": path}

    def used_bytes(self, address: str | None = None) -> int:
        """What the card's counter says, or would say if it were not broken."""
        with self._kernel.books() as books:
            return used_bytes(books, card_at(books, self._address(address)))

    def held_bytes(self, address: str | None = None) -> dict[int, int]:
        """Bytes by the pid of each worker that is alive."""
        with self._kernel.books() as books:
            return {
                holder["pid"]: holder["bytes"]
                for holder in books["holders"]
                if holder["address"] == self._address(address)
            }

    @contextlib.contextmanager
    def stranger(self, size_bytes: int, address: str | None = None) -> Iterator[None]:
        """Somebody uses the card for graphics: the counter shows it, KFD does not, as with a game.

        It is not refused: what does not fit beside the others is cut off the counter.
        """
        name = uuid.uuid4().hex
        with self._kernel.books() as books:
            books["strangers"][name] = {"address": self._address(address), "bytes": size_bytes}
        try:
            yield
        finally:
            with self._kernel.books() as books:
                del books["strangers"][name]

    def break_used(self, how: str, address: str | None = None) -> None:
        """Until mend(): "missing", "empty", "hang" (whoever opens it waits), or a text to read."""
        with self._kernel.books() as books:
            broken = {"how": how, "done": False}
            card_at(books, self._address(address))["broken"] = broken

    def mend(self) -> None:
        """Undo break_used on all cards; who hangs in a file is let go and reads nothing."""
        with self._kernel.books() as books:
            for card in books["cards"]:
                card["broken"] = None

    def shift_pids(self, by: int) -> None:
        """Let KFD list pids of another PID namespace, as a container sees it. 0: its own again."""
        with self._kernel.books() as books:
            books["pid_offset"] = by

    def _address(self, address: str | None) -> str:
        return address or self.models[0].address

    def _follow_exits(self) -> None:
        while not self._done.wait(_LOOK_EVERY_S):
            with self._kernel.books():
                pass


def _card(number: int, model: Model) -> dict[str, Any]:
    is_ram = model.bank_bytes is not None and model.bank_bytes > model.total_bytes
    pool = "gtt" if is_ram else "vram"
    return {
        "address": model.address,
        "gpu_id": tree.gpu_id(number),
        "uuid": f"GPU-{model.unique_id:016x}" if model.unique_id else "GPU-XX",
        "total_bytes": model.gtt_bytes if is_ram else model.total_bytes,
        "base_bytes": model.base_bytes,
        "used_path": f"{tree.PCI}/{model.address}/mem_info_{pool}_used",
        "broken": None,
    }
