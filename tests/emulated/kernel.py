"""The emulated driver's books: who holds what on which card, and the files that say so.

Every process that changes the books does it under a file lock and writes the tree before letting
go, so the files are never behind. Files are replaced by rename: no reader sees a torn value. What a
dead process held is freed by whoever looks next. Standard library only: workers import this.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Books = dict[str, Any]


class Kernel:
    """One emulated machine's driver, kept in a folder: ``sys`` is the tree, the rest is ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sysfs = folder / "sys"
        self.scratch = folder / "scratch"
        self.kfd_proc = self.sysfs / "class/kfd/kfd/proc"

    @contextlib.contextmanager
    def books(self) -> Iterator[Books]:
        """The books, ours alone until the block ends; then they are saved and the tree written."""
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # A process killed half way through has let the lock go, and left its scratch.
            for left in self.scratch.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            books = json.loads((self.folder / "books.json").read_text())
            books["holders"] = [holder for holder in books["holders"] if is_alive(holder)]
            yield books
            self._settle(books)

    def _settle(self, books: Books) -> None:
        """Save and publish, unless nothing has changed since that was last done to the end."""
        published = self.folder / "published.json"
        text = json.dumps(books)
        if published.exists() and published.read_text() == text:
            return
        self.save(books)
        self._publish(books)
        self.replace(published, json.dumps(books))

    def create(self, books: Books) -> None:
        """Start with these books; the tree is there already."""
        self.scratch.mkdir()
        self.save(books)

    def save(self, books: Books) -> None:
        self.replace(self.folder / "books.json", json.dumps(books))

    def replace(self, path: Path, text: str) -> None:
        """Make *text* the content of *path* at one moment, if it is not already."""
        with contextlib.suppress(OSError):
            if path.is_file() and path.read_text() == text:
                return
        fresh = self.scratch / "fresh"
        fresh.write_text(text)
        fresh.rename(path)

    def _publish(self, books: Books) -> None:
        for card in books["cards"]:
            path = self.sysfs / card["used_path"]
            if card["broken"] is None:
                self._mend(path)
                self.replace(path, f"{used_bytes(books, card)}\n")
            elif not card["broken"]["done"]:
                self._break(path, card["broken"]["how"])
                card["broken"]["done"] = True
                self.save(books)
        self._publish_processes(books)

    def _publish_processes(self, books: Books) -> None:
        # The driver has a file for every card, also for those that a process does not use.
        none = {card["gpu_id"]: 0 for card in books["cards"]}
        wanted: dict[str, dict[int, int]] = {}
        for holder in books["holders"]:
            gpu_id = card_at(books, holder["address"])["gpu_id"]
            pid = str(holder["pid"] + books["pid_offset"])
            wanted.setdefault(pid, dict(none))[gpu_id] = holder["bytes"]
        for entry in os.listdir(self.kfd_proc):
            if entry not in wanted:
                self._remove(self.kfd_proc / entry)
        for pid, sizes in wanted.items():
            if not (self.kfd_proc / pid).exists():
                self._add_process(pid, sizes)
            for gpu_id, size in sizes.items():
                self.replace(self.kfd_proc / pid / f"vram_{gpu_id}", f"{size}\n")

    def _add_process(self, pid: str, sizes: dict[int, int]) -> None:
        """rocm-smi shows a process only with pasid and queues, its size only with cu_occupancy."""
        fresh = self.scratch / "process"
        used = [gpu_id for gpu_id, size in sizes.items() if size]
        files = {f"queues/{number}/gpuid": gpu_id for number, gpu_id in enumerate(used)}
        files |= {f"vram_{gpu_id}": size for gpu_id, size in sizes.items()}
        files |= {f"sdma_{gpu_id}": 0 for gpu_id in sizes}
        files |= {f"stats_{gpu_id}/cu_occupancy": 0 for gpu_id in sizes}
        for name, number in {"pasid": 32770, **files}.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(f"{number}\n")
        fresh.rename(self.kfd_proc / pid)

    def _remove(self, path: Path) -> None:
        gone = self.scratch / "gone"
        path.rename(gone)
        shutil.rmtree(gone)

    def _break(self, path: Path, how: str) -> None:
        if how == "hang":
            fifo = self.scratch / "fresh"
            os.mkfifo(fifo)
            fifo.rename(path)
        elif how == "missing":
            path.unlink(missing_ok=True)
        else:
            self.replace(path, {"empty": ""}.get(how, how))

    def _mend(self, path: Path) -> None:
        """Let go whoever hangs in a FIFO's open: a writer that comes and leaves ends its wait."""
        if path.is_fifo():
            gone = self.scratch / "gone"
            path.rename(gone)
            with contextlib.suppress(OSError):  # ENXIO: nobody waits
                os.close(os.open(gone, os.O_WRONLY | os.O_NONBLOCK))
            gone.unlink()


def used_bytes(books: Books, card: dict[str, Any]) -> int:
    """What the card's counter says: the desktop's part, strangers and holders."""
    others = [*books["holders"], *books["strangers"].values()]
    held = sum(each["bytes"] for each in others if each["address"] == card["address"])
    return int(min(card["base_bytes"] + held, card["total_bytes"]))


def card_at(books: Books, address: str) -> dict[str, Any]:
    return next(card for card in books["cards"] if card["address"] == address)


def started_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None: there is no such process, or only its corpse."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(holder: dict[str, Any]) -> bool:
    """The same process, not a later one with its pid."""
    return bool(started_ticks(holder["pid"]) == holder["started_ticks"])
