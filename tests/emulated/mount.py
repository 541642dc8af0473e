"""Showing an emulated machine to a program as /sys, in a mount namespace of its own. Needs root.

It gets a /dev/shm of its own too: a rocm-smi that is killed leaves a locked mutex there, and no
later one starts until somebody deletes the file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_MOUNT = 'mount --rbind "$0" /sys && mount -t tmpfs none /dev/shm && exec "$@"'


def seeing(sysfs: Path) -> tuple[str, ...]:
    """The words to put before a command."""
    return ("unshare", "-m", "sh", "-c", _MOUNT, str(sysfs))


def can_mount() -> bool:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
