"""``scheduler init``: reads an Optuna script without running it, writes settings for its runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from scheduler.interfaces.errors import BadInput
from scheduler.strategies.source import Call, Source, Suggestion, read_source

MOST_BYTES = 10 << 20


@click.command()
@click.argument("script", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Default: the script's, as .toml.")
@click.option("--force", is_flag=True, help="Write over what is there.")
def command(script: Path, output: Path | None, force: bool) -> None:
    """Read SCRIPT, without running it, and write a commented TOML file with settings for it."""
    source = _read(script)
    path = output or script.with_suffix(".toml")
    text = "".join(f"{line}\n" for line in settings_lines(script.name, path.name, source))
    try:
        _write(path, text, force=force)
    except FileExistsError:
        raise BadInput(f"{path} is there already; --force writes over it") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
    for line in found_lines(script.name, source):
        click.echo(line)
    click.echo(f"wrote {path}; use it with: scheduler run --settings {path} {script}")


def _read(script: Path) -> Source:
    try:
        if not script.is_file():
            raise BadInput(f"there is no script {str(script)!r} in {os.getcwd()}")
        return read_source(script.read_bytes()[:MOST_BYTES].decode())
    except UnicodeDecodeError:
        raise BadInput(f"{script} is not UTF-8, as Python scripts are") from None
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise BadInput(f"{script}{where} is not Python: {error.msg}") from None
    except OSError as error:
        raise BadInput(f"{script} cannot be read: {error.strerror}") from None


def _write(path: Path, text: str, *, force: bool) -> None:
    """Nothing of others' is written over. Raises OSError."""
    how = os.O_TRUNC if force else os.O_EXCL
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o644), "w", encoding="utf-8") as file:
        file.write(text)


def found_lines(name: str, source: Source) -> Iterator[str]:
    """What was found, for people. Pure."""
    if not source.optimizes:
        yield f"{name} does not call Study.optimize in a way that can be read; run it to see"
    for call in source.optimizes:
        yield f"line {call.line}: optimize({_shown(call, ('n_trials', 'timeout', 'n_jobs'))})"
    for call in source.studies:
        names = ("direction", "directions", "study_name", "sampler", "pruner", "storage")
        yield f"line {call.line}: a study({_shown(call, names)})"
    for one in source.suggestions:
        yield f"line {one.line}: {parameter(one)}"
    if not source.suggestions:
        yield "no parameters that can be read"
    yield _pruning(source)


def parameter(one: Suggestion) -> str:
    """`lr: float 1e-05 .. 0.1, log`"""
    name = one.name.value if isinstance(one.name.value, str) else one.name.text
    said = {key: written.text for key, written in one.arguments.items()}
    if one.kind == "categorical":
        return f"{name}: one of {said.get('choices', '?')}"
    text = f"{name}: {one.kind} {said.get('low', '?')} .. {said.get('high', '?')}"
    if (step := said.get("step")) not in (None, "None"):
        text += f", step {step}"
    return text + (", log" if said.get("log") == "True" else "")


def _shown(call: Call, names: tuple[str, ...]) -> str:
    return ", ".join(
        f"{name}={_without_secret(call.arguments[name].text)}"
        for name in names
        if name in call.arguments
    )


def _without_secret(text: str) -> str:
    """A storage's URL may hold a password."""
    return text if "@" not in text else "..."


def _pruning(source: Source) -> str:
    if source.reports and source.asks:
        return "it reports values on its way and asks whether to go on: pruning works"
    if source.reports:
        return "it reports values but never asks should_prune(): nothing is pruned"
    return (
        "it reports no values on its way, so nothing can be pruned; where it trains, say"
        " scheduler.report(value) and end with optuna.TrialPruned if scheduler.should_prune()"
    )


def settings_lines(script: str, path: str, source: Source) -> Iterator[str]:
    """The file. Pure."""
    yield f"# Settings for runs of {script}, made by `scheduler init` from its text. Use them with:"
    yield f"#     scheduler run --settings {path} {script}"
    yield "# What a flag says goes first, then this file, then your own configuration."
    yield "# A line that begins with # says what holds anyway; take the # away to change it."
    yield "#"
    yield "# Found:"
    yield from (f"#   {line}" for line in found_lines(script, source))
    yield ""
    yield "[run]"
    yield "# What a trial is promised until its peak is known; on a GPU 6GiB, on host RAM 1GiB."
    yield '# memory_per_trial = "6GiB"'
    yield "# At most so many trials at once; memory decides where nothing is said."
    yield "# max_trials = 3"
    yield ""
    yield "[pruning]"
    yield "# " + _why_strategy(source)
    yield '# strategy = "default"'
    yield "# Of the trials that would be pruned, this share runs on, to find out whether that was"
    yield "# right; where more than the limit was wrong, pruning is made milder."
    yield "# controls = 0.08"
    yield "# limit = 0.05"
    yield ""
    yield "[ranges]"
    yield "# Draw from where the best trials lie; a tenth still draws from the full ranges."
    yield "# use = true"
    yield ""
    yield "[budget]"
    yield f"# The script asks for {_trials(source)}."
    yield "# End once a trial is as good as this:"
    yield "# target = 0.95"
    yield "# End after so many trials without a better one:"
    yield "# patience = 100"
    yield "# Go on once, beyond the number of trials, while none is as good as this:"
    yield "# floor = 0.15"
    yield "# extend_to = 600"


def _why_strategy(source: Source) -> str:
    for call in source.studies:
        if "pruner" in call.arguments:
            return f"default: the script's own pruner, {call.arguments['pruner'].text}."
    return "default: the script names no pruner of its own, so it is auto."


def _trials(source: Source) -> str:
    for call in source.optimizes:
        if "n_trials" in call.arguments:
            return f"n_trials={call.arguments['n_trials'].text}"
    return "no number of trials"
