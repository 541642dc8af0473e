"""A small disk of a test's own, that can be full or read-only: for chosen processes only.

A tmpfs in a mount namespace that a sleeping process keeps. What is started by ``prefix`` sees the
disk where it is said to be; the test sees it at ``here``. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path


class NoDisk(Exception):
    """There can be none here; says why."""


class OwnDisk:
    """Mounted at *at*, an empty folder, for those inside."""

    def __init__(self, at: Path, size_bytes: int) -> None:
        if os.getuid() != 0 or not shutil.which("unshare") or not shutil.which("nsenter"):
            raise NoDisk("needs root, unshare and nsenter")
        self._at = at
        options = f"size={size_bytes},mode=0700"
        mount = f"mount -t tmpfs -o {options} none '{at}' && echo ready && exec sleep 600"
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mount],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        assert self._keeper.stdout is not None
        said = self._keeper.stdout.readline()
        if said != "ready\n":
            raise NoDisk(f"no mount of our own here: {said}")
        self.here = Path(f"/proc/{self._keeper.pid}/root{at}")

    def close(self) -> None:
        """It is gone once nobody is inside any longer."""
        self._keeper.kill()
        self._keeper.communicate()

    def prefix(self, folder: Path) -> tuple[str, ...]:
        """The words to put before a command that is to run inside, in *folder*."""
        enter = ("nsenter", f"--target={self._keeper.pid}", "--mount")
        return (*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(folder))

    def fill(self) -> None:
        """To the last page; files go on growing within theirs."""
        ballast = os.open(self.here / "ballast", os.O_WRONLY | os.O_CREAT, 0o600)
        with contextlib.suppress(OSError):
            while os.write(ballast, bytes(1 << 16)):
                pass
        with contextlib.suppress(OSError):
            while os.write(ballast, bytes(512)):
                pass
        os.close(ballast)

    def make_room(self) -> None:
        (self.here / "ballast").unlink()

    def make_read_only(self) -> None:
        """By a mount over it: what is open stays as it is, no name can be written to any more."""
        self._inside("mount", "--bind", "-o", "ro", str(self._at), str(self._at))

    def make_writable(self) -> None:
        self._inside("umount", str(self._at))

    def _inside(self, *words: str) -> None:
        subprocess.run([*self.prefix(Path("/")), *words], check=True)
