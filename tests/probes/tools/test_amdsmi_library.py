"""AMD's library amdsmi, through the child that asks it, with a small package in its place."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.tools import amdsmi_library
from probes.tools.amdsmi_library import AmdSmiLibrary, parse_answer, parse_gpus
from probes.tools.command import Said, ToolFailed
from probes.tools.tool import MIB, ToolCard, ToolProcess

#: As 6.2 and later: two GPUs, processes as dicts. What differs is appended.
PACKAGE = """
import enum, os
print("the library greets on standard output")
__version__ = "7.0.2"
class AmdSmiInitFlags(enum.IntEnum):
    INIT_AMD_GPUS = 2
class AmdSmiMemoryType(enum.IntEnum):
    VRAM = 0
    VIS_VRAM = 1
    GTT = 2
class AmdSmiLibraryException(Exception):
    pass
started = []
def amdsmi_init(flag):
    assert flag is AmdSmiInitFlags.INIT_AMD_GPUS
    os.write(1, b"so does its C\\n")
    started.append(flag)
def amdsmi_get_processor_handles():
    assert started
    return [3, 12]
def amdsmi_get_gpu_device_bdf(handle):
    return f"0000:{handle:02x}:00.0"
def amdsmi_get_gpu_memory_total(handle, kind):
    return {0: 17163091968, 2: 16106127360}[kind]
def amdsmi_get_gpu_memory_usage(handle, kind):
    return {0: 9156165632 + handle, 2: 33554432}[kind]
def amdsmi_get_gpu_vram_usage(handle):
    return {"vram_total": 16300, "vram_used": 8700}
def amdsmi_get_gpu_process_list(handle):
    parts = {"gtt_mem": 2097152, "cpu_mem": 0, "vram_mem": 6442450944}
    return [{"name": "N/A", "pid": 10, "mem": 0, "memory_usage": parts}]
"""

#: 6.0 and 6.1.0: a list of opaque things, and no words about the asic.
HANDLES = """
__version__ = None
dicts = amdsmi_get_gpu_process_list
def amdsmi_get_gpu_process_list(handle):
    return [object()]
def amdsmi_get_gpu_process_info(handle, process):
    return dicts(handle)[0]
"""
#: 6.4 and later.
WORDS = """
def amdsmi_get_gpu_asic_info(handle):
    return {"market_name": "Navi 31", "target_graphics_version": "gfx1100"}
def amdsmi_get_gpu_enumeration_info(handle):
    return {"hip_uuid": "GPU-5a2b7c9d1e3f4a60" if handle == 3 else "GPU-0000000000000000"}
"""
RAISES = """
def {name}(*arguments):
    raise AmdSmiLibraryException("Error code:\\n\\t31 | NO_DRM")
"""

Put = Callable[[str], AmdSmiLibrary]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Install a package of this code, and get who asks it."""

    def put(code: str, limit_s: float = 30.0) -> AmdSmiLibrary:
        folder = tmp_path / "amdsmi"
        folder.mkdir()
        (folder / "__init__.py").write_text(code)
        return AmdSmiLibrary(str(tmp_path), limit_s)

    return put


def sizes(cards: tuple[ToolCard, ...]) -> list[tuple[int | None, int | None]]:
    return [(card.total_bytes, card.used_bytes) for card in cards]


PROCESS = ToolProcess(pid=10, held_bytes=6442450944)


@pytest.mark.processes
@pytest.mark.parametrize("more", ["", HANDLES, WORDS], ids=["6.2", "6.0", "7.0"])
def test_memory_and_processes_are_read_in_all_versions(put, more):
    first, second = put(PACKAGE + more).cards()
    assert (first.index, first.address) == ("0", "0000:03:00.0")
    assert (second.index, second.address) == ("1", "0000:0c:00.0")
    assert (first.total_bytes, first.used_bytes) == (17163091968, 9156165635)
    assert (second.total_bytes, second.used_bytes) == (17163091968, 9156165644)
    assert (first.gtt_total_bytes, first.gtt_used_bytes) == (16106127360, 33554432)
    assert first.processes == second.processes == (PROCESS,)
    assert first.problem is second.problem is None


@pytest.mark.processes
def test_names_are_read_where_there_are_any(put):
    first, second = put(PACKAGE + WORDS).cards()
    assert (first.name, first.gfx, first.uuid) == ("Navi 31", "gfx1100", "GPU-5a2b7c9d1e3f4a60")
    assert second.uuid is None


@pytest.mark.processes
def test_the_version_is_the_packages_and_starts_no_library(put):
    assert put(PACKAGE + RAISES.format(name="amdsmi_init")).version() == "7.0.2"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('install amd-smi-lib')\nraise KeyError('libamd_smi.so')", "'libamd_smi.so'"),
        ("print('install amd-smi-lib')\nraise OSError('libamd_smi.so: no file')", "no file"),
        ("raise AttributeError('undefined symbol: amdsmi_init')", "undefined symbol"),
        ("import os\nos.environ['HOME_OF_SMI']", "HOME_OF_SMI"),
        ("import no_such_package", "no_such_package"),
        ("def (", "SyntaxError"),
        ("raise SystemExit('enough')", "ended with 1, saying: enough"),
        ("import os\nos.kill(os.getpid(), 9)", "ended with -9, saying: nothing"),
        (PACKAGE + RAISES.format(name="amdsmi_init"), r"Error code: 31 \| NO_DRM"),
        (PACKAGE + "def amdsmi_get_processor_handles(): return []", "finds no GPU"),
    ],
    ids=["key", "os", "attr", "env", "import", "syntax", "exit", "killed", "init", "none"],
)
def test_what_fails_as_a_whole_is_said_with_its_words(put, code, words):
    with pytest.raises(ToolFailed, match=words) as caught:
        put(code).cards()
    assert str(caught.value).startswith("amdsmi")
    assert ("install amd-smi-lib" in code) == ("install amd-smi-lib" in str(caught.value))


@pytest.mark.processes
def test_a_version_that_wants_rocm_path_is_told_the_usual_one(put, monkeypatch):
    monkeypatch.delenv("ROCM_PATH", raising=False)
    code = f"{PACKAGE}\n__version__ = os.environ['ROCM_PATH']"
    assert put(code).version() == "/opt/rocm"


@pytest.mark.processes
def test_the_users_rocm_path_wins(put, monkeypatch):
    monkeypatch.setenv("ROCM_PATH", "/elsewhere")
    assert put(f"{PACKAGE}\n__version__ = os.environ['ROCM_PATH']").version() == "/elsewhere"


@pytest.mark.processes
def test_a_call_that_fails_costs_its_own_value_only(put):
    code = PACKAGE
    for name in ("memory_usage", "vram_usage", "device_bdf", "process_list"):
        code += RAISES.format(name=f"amdsmi_get_gpu_{name}")
    for card in put(code).cards():
        assert (card.total_bytes, card.used_bytes, card.address) == (None, None, None)
        assert card.gtt_total_bytes == 16106127360
        assert card.processes is None
        assert card.problem is not None
        assert "vram_usage_bytes: AmdSmiLibraryException: Error code: 31 | NO_DRM" in card.problem


@pytest.mark.processes
@pytest.mark.parametrize(
    "more",
    [
        RAISES.format(name="amdsmi_get_gpu_memory_usage"),
        "del amdsmi_get_gpu_memory_total",
        "def amdsmi_get_gpu_memory_usage(handle, kind): return 2**64 - 1",
        "def amdsmi_get_gpu_memory_usage(handle, kind): return 2**32 - 1",
        "def amdsmi_get_gpu_memory_usage(handle, kind): return 'N/A'",
    ],
    ids=["raises", "missing", "64 bits", "32 bits", "N/A"],
)
def test_mebibytes_stand_in_for_bytes_and_both_come_from_one_answer(put, more):
    assert sizes(put(PACKAGE + more).cards()) == [(16300 * MIB, 8700 * MIB)] * 2


@pytest.mark.processes
def test_one_address_for_all_gpus_is_none(put):
    code = PACKAGE + "def amdsmi_get_gpu_device_bdf(handle): return '0000:00:00.0'"
    first, second = put(code).cards()
    assert first.address is second.address is None
    assert first.problem == "GPU 0 has no PCI address"
    assert first.used_bytes == 9156165635


@pytest.mark.processes
def test_one_that_hangs_is_not_waited_for(put, tmp_path):
    code = f"""{PACKAGE}
import time
def amdsmi_init(flag):
    open({str(tmp_path / "started")!r}, "w").close()
    time.sleep(600)
"""
    began_s = time.monotonic()
    with pytest.raises(ToolFailed, match=r"amdsmi: .* did not answer"):
        put(code, limit_s=1.0).cards()
    assert time.monotonic() - began_s < 60
    assert (tmp_path / "started").exists()


@pytest.mark.processes
def test_a_child_whose_starter_is_gone_ends_itself(tmp_path):
    """The library may hang for ever; nobody is left then to kill who waits for it."""
    folder = tmp_path / "amdsmi"
    folder.mkdir()
    (folder / "__init__.py").write_text("import time\ntime.sleep(600)")
    arguments = [sys.executable, "-I", amdsmi_library._CHILD, str(tmp_path), "0.2"]
    child = os.posix_spawn(sys.executable, arguments, os.environ)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGALRM


# Where it is


def test_it_is_missing_where_nobody_has_it(monkeypatch):
    monkeypatch.setattr(amdsmi_library, "ROCM_FOLDER", "/nowhere")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    library = AmdSmiLibrary()
    assert library.missing() == "the Python package amdsmi is not installed"
    with pytest.raises(ToolFailed, match="is not installed"):
        library.cards()


def test_it_is_found_where_python_looks_and_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "amdsmi").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(amdsmi_library, "ROCM_FOLDER", "/nowhere")
    assert amdsmi_library.find_folder() is None  # a folder that happens to have the name
    (tmp_path / "amdsmi" / "__init__.py").write_text("raise AssertionError")
    importlib.invalidate_caches()
    assert amdsmi_library.find_folder() == str(tmp_path)
    assert AmdSmiLibrary().missing() is None
    assert "amdsmi" not in sys.modules


def test_it_is_found_where_rocms_packages_put_it(tmp_path, monkeypatch):
    (tmp_path / "amdsmi").mkdir()
    (tmp_path / "amdsmi" / "__init__.py").touch()
    monkeypatch.setattr(amdsmi_library, "ROCM_FOLDER", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert amdsmi_library.find_folder() == str(tmp_path)


# Any answer


def said(stdout: str) -> Said:
    return Said(stdout=stdout, stderr="", exit_code=0, took_s=0.1)


GPU = {
    "vram_total_bytes": 100,
    "vram_usage_bytes": 40,
    "bdf": "0000:03:00.0",
    "processes": [{"pid": 7, "memory_usage": {"vram_mem": 9}}],
}


@given(st.integers(0, 200))
def test_an_answer_that_is_cut_off_is_none(length):
    whole = json.dumps({"version": "7.0.2", "gpus": [GPU]})
    with contextlib.suppress(ToolFailed):
        assert parse_answer(said(whole[:length])) == json.loads(whole)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["pid", "mem", "vram_mem", "memory_usage"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GPU, "vram_usage", "asic", "problems"]), VALUES), VALUES)
def test_any_answer_is_cards_or_a_failure(gpu, other):
    for answer in ({"gpus": [gpu, other]}, {"gpus": other}, other):
        with contextlib.suppress(ToolFailed):
            cards = parse_gpus(parse_answer(said(json.dumps(answer))))
            assert all(isinstance(card, ToolCard) for card in cards)


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({"memory_usage": {"vram_mem": 9}}, 9),
        ({"mem": 9}, 9),
        ({"mem": 0}, None),
        ({"memory_usage": {"vram_mem": 0, "gtt_mem": 4}}, 0),
        ({"memory_usage": {"vram_mem": (1 << 64) - 1}}, None),
    ],
)
def test_what_a_process_holds(change, held):
    (card,) = parse_gpus({"gpus": [{**GPU, "processes": [{"pid": 7, **change}]}]})
    assert card.processes == (ToolProcess(pid=7, held_bytes=held),)


@pytest.mark.parametrize("listed", [None, "N/A", [{"pid": 0}], [{"pid": True}], [GPU, 7]])
def test_processes_that_cannot_be_told_are_none(listed: Any):
    (card,) = parse_gpus({"gpus": [{**GPU, "processes": listed}]})
    assert card.processes is None
    assert (card.total_bytes, card.used_bytes) == (100, 40)
