"""``scheduler service``: the supervisor as a systemd unit of the user's."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from scheduler.interfaces.errors import Failed
from scheduler.machine.state import VARIABLE

NAME = "scheduler.service"
_LIMIT_S = 20.0

#: KillMode and OOMPolicy: the trials are in the supervisor's control group. What ends it must not
#: end them, and one that the kernel kills must not take them all along (systemd.service(5)).
_UNIT = """\
[Unit]
Description=GPU trial scheduler: runs Optuna trials side by side

[Service]
Type=notify
ExecStart={python} -P -m scheduler.daemon --lasting --instead
Restart=on-failure
RestartSec=5
KillMode=process
OOMPolicy=continue
{environment}
[Install]
WantedBy=default.target
"""


@click.group()
def command() -> None:
    """The supervisor as a service: systemd starts it, and starts it again when it dies."""


@command.command("install")
def install() -> None:
    """Write the unit and start it."""
    path = unit_path()
    text = unit_text(sys.executable, {VARIABLE: os.environ.get(VARIABLE)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path}")
    _systemctl(("daemon-reload",), ("enable", "--now", NAME))
    click.echo(
        "It runs while you are logged in. To have it run from boot on, and after you log out:\n"
        f"  sudo loginctl enable-linger {getpass.getuser()}"
    )


@command.command("uninstall")
def uninstall() -> None:
    """Stop the service and remove the unit. Trials that run go on."""
    path = unit_path()
    if not path.exists():
        click.echo(f"there is no {path}, nothing to do")
        return
    _systemctl(("disable", "--now", NAME))
    try:
        path.unlink()
    except OSError as error:
        raise Failed(f"{path} cannot be removed: {error.strerror}") from None
    click.echo(f"removed {path}")
    _systemctl(("daemon-reload",))


def unit_path() -> Path:
    """Where systemd looks for a user's own units (systemd.unit(5))."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "systemd/user" / NAME


def unit_text(python: str, environment: dict[str, str | None]) -> str:
    """The unit that starts this installation; *environment* is what is set of it."""
    lines = [
        f"Environment={_quoted(f'{name}={value}')}\n"
        for name, value in environment.items()
        if value
    ]
    return _UNIT.format(python=_quoted(python, in_command=True), environment="".join(lines))


def _quoted(text: str, *, in_command: bool = False) -> str:
    """As one word in a unit: % begins a specifier, $ a variable in commands (systemd.syntax(7))."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + (text.replace("$", "$$") if in_command else text) + '"'


def _systemctl(*calls: tuple[str, ...]) -> None:
    """Runs ``systemctl --user`` for each; where no systemd can be talked to, says what to run."""
    commands = [["systemctl", "--user", *call] for call in calls]
    if not _has_systemd():
        click.echo("No systemd of yours can be reached from here. Where one can, run:")
        for words in commands:
            click.echo(f"  {' '.join(words)}")
        return
    for words in commands:
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"`{' '.join(words)}` has not ended after {_LIMIT_S:.0f} s") from None
        if done.returncode:
            raise Failed(f"`{' '.join(words)}` failed: {done.stderr.strip()}")


def _has_systemd() -> bool:
    """sd_booted(3), and a manager of the user's to talk to."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    is_there = Path(runtime, "systemd/private").exists() and Path("/run/systemd/system").is_dir()
    return is_there and shutil.which("systemctl") is not None
