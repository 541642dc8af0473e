"""Imports run one way: nobody reaches up, and the pure parts reach nothing of the machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IMPURE = {
    "asyncio",
    "datetime",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "select",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "uuid",
}
#: The layers, lowest first. A module may import its own layer and those below, but not a sibling.
LAYERS = (
    ("scheduler.core", "scheduler.strategies"),
    ("scheduler.wire", "scheduler.loop"),
    ("scheduler.machine", "scheduler.study", "scheduler.simulate"),
    ("scheduler.daemon",),
    ("scheduler.interfaces",),
)
#: A host finds its folders on the machine, and starts the supervisor where there is none.
#: The strategies' decisions are told in the core's words.
ALSO = {"scheduler.study": {"scheduler.machine"}, "scheduler.strategies": {"scheduler.core"}}


def modules() -> dict[str, Path]:
    paths = [*ROOT.glob("probes/**/*.py"), *ROOT.glob("scheduler/**/*.py")]
    return {name_of(path): path for path in sorted(paths)}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """Full names of what *path* imports; without those inside functions where *lazy* is False."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if lazy else list(eager(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its layer"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def eager(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from eager(child)


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def layer_of(name: str) -> tuple[int, str] | None:
    for height, layer in enumerate(LAYERS):
        for package in layer:
            if is_in(name, package):
                return height, package
    return None


EVERY = pytest.mark.parametrize(("name", "path"), modules().items(), ids=list(modules()))


@EVERY
def test_imports_run_one_way(name, path):
    here = layer_of(name)
    for used in imports(path):
        there = layer_of(used)
        if here is None or there is None or there[1] in ALSO.get(here[1], ()):
            continue
        assert there[0] < here[0] or there[1] == here[1], f"{name} imports {used}"


@EVERY
def test_probes_know_nothing_of_the_scheduler(name, path):
    if is_in(name, "probes"):
        assert not [used for used in imports(path) if is_in(used, "scheduler")]


@EVERY
def test_the_core_is_pure(name, path):
    if not is_in(name, "scheduler.core"):
        return
    for used in imports(path):
        assert not is_in(used, *IMPURE), f"{name} imports {used}"
        if is_in(used, "scheduler", "probes"):
            assert is_in(used, "scheduler.core", "probes.reading"), f"{name} imports {used}"


@EVERY
def test_only_the_study_knows_optuna_and_only_it_torch_when_it_needs_it(name, path):
    if is_in(name, "scheduler.study"):
        assert not [used for used in imports(path, lazy=False) if is_in(used, "torch")]
    else:
        assert not [used for used in imports(path) if is_in(used, "optuna", "torch")]


def test_every_module_has_its_layer():
    known = {"scheduler", "scheduler.__main__"}
    others = [name for name in modules() if not is_in(name, "probes") and name not in known]
    assert not [name for name in others if layer_of(name) is None]


def test_a_forbidden_import_is_found(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("import torch.nn\ndef f():\n    from scheduler.core import core\n")
    assert list(imports(path)) == ["torch.nn", "scheduler.core.core"]
    assert list(imports(path, lazy=False)) == ["torch.nn"]
