"""How the command line ends when it cannot do what it was asked."""

from __future__ import annotations

import click


class BadInput(click.ClickException):
    """What was asked cannot be done as asked; nothing was changed."""

    exit_code = 2


class Failed(click.ClickException):
    """It was asked rightly and did not work."""

    exit_code = 1
