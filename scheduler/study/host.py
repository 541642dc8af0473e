"""``python -m scheduler.study.host RUN_FOLDER``: run the user's script as a run's host.

Exit codes: the script's own; 1 where it raised; 2 for a target that is not there; 130 where
Ctrl-C ended it and what ran has finished, 131 where what ran was stopped and put back.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    from scheduler.study.life import live

    sys.exit(live(folder))


if __name__ == "__main__":
    main()
