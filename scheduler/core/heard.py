"""What the words that a process left behind tell of its end: pure, text in, kind of end out.

Covers whose words count: those after the last line by which the run went on, the last exception's
before all others, a library's before a person's. The words themselves are data in ``sentences``,
and what the machine has to say to them is in ``verdict``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from scheduler.core.sentences import (
    AFTER_CLASS,
    BEFORE_CLASS,
    CLASSES,
    Doubt,
    Sign,
    TextKind,
)

#: A mapping that the memory behind it, most often /dev/shm, could not fill.
_BUS_BECAUSE = "signal 7 (SIGBUS): no memory was left behind a mapping, most often /dev/shm"
_BUS_CODES = (-7, 128 + 7)

_TEXT_LIMIT = 65536
_LONG_LINE = re.compile(r"(?m)^(.{2000}).+$")
#: Who wrote the line, or who quotes it: torchrun, Ray, vLLM's engine, pytest, mail.
_LOG_PREFIX = re.compile(
    r"(?m)^(?:(?:\[(?:rank|default)\d+\]:|\([^()\n]{0,40}pid=\d+[^()\n]{0,40}\)"
    r"|ERROR [\d-]+ [\d:]+ \[[\w.]+:\d+\]|>|E  ) ?)+"
)
#: A frame of a traceback with its source lines, which are indented deeper than the frame's own.
_FRAME = re.compile(r'(?m)^([ \t]*)File "[^\n]*(?:\n\1[ \t]+[^\n]*)*\n?')
_EXCEPTION = re.compile(
    r"(?m)^[ \t]*((?:[A-Za-z_]\w*\.)*(?:_?[A-Z]\w*"
    r"(?:Error|Exception|Exit|Interrupt|OutOfResources|BrokenProcessPool|KilledWorker)|Exception)"
    r"|(?<=\(most recent call last\):\n)[A-Za-z_][\w.]*(?=:))"
    r"(?::|[ \t`'\"]*$)"
)
_CAUSE = "The above exception was the direct cause of the following exception"
_SIZE = r"([\d.]+) (bytes|[KMGT]iB)"
_ALLOWED = re.compile(_SIZE + r" allowed;")
_TRIED = re.compile(r"Tried to allocate " + _SIZE)
_RESERVED = re.compile(_SIZE + r" is (?:allocated|reserved) by PyTorch")
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

#: What may have been, by one who does not know: Ray lists it whenever a worker is gone.
_SUPPOSED = re.compile(r"There are some potential root causes\.[^\n]*")

#: Exceptions that only pass on that something else ended: what came before them counts.
_RELAY = re.compile(
    r"(?:.*\.)?(?:CalledProcessError|ChildFailedError|Process(?:Raised|Exited)Exception|SystemExit"
    r"|BrokenProcessPool|TerminatedWorkerError|WorkerCrashedError|RayTaskError|EngineDeadError"
    r"|(?:Actor|Node|Raylet|Owner)\w*DiedError|BrokenPipeError|ConnectionResetError|EOFError|DistBackendError|SignalException"
    r"|InternalError|UnknownError)"
)
_RELAYED = re.compile(
    r"(?i)root cause|exited unexpectedly|is killed by signal|unhandled (?:cuda|system) error"
    r"|see (?:\w+ ){0,3}(?:above|log)"
)

#: Exceptions in which a library or a runtime speaks, so that hints count.
_LIBRARY = re.compile(
    r"(?:builtins\.)?SystemError|(?:torch|tensorflow|keras|jax|jaxlib|xla|cupy\w*|numba|numpy"
    r"|xgboost|lightgbm|catboost|_catboost|paddle|mxnet|onnxruntime|triton|vllm|ray|rmm|cudf|cuml"
    r"|pycuda|pyopencl|pyarrow|bitsandbytes|deepspeed|accelerate)\.[\w.]+"
    r"|(?:[\w.]+\.)?(?:XGBoost|LightGBM|CatBoost|MXNet|Xla\w*|CudaAPI|Accelerator|Internal"
    r"|ResourceExhausted)(?:Runtime)?Error"
)

#: The run went on after this: what stands before it ended nothing. Advice is not an action, nor is
#: an exception, and a driver that goes on does so without the run. A warning of Python's ends with
#: the line that gave it; the one of leaked semaphores is given after the end.
_WENT_ON = re.compile(
    r"(?im)^(?![ \t]*[\w.]+(?:Error|Exception):)(?!and |or )(?!.*\b(?:amdgpu|NVRM)\b)"
    r"(?:[ \t]+warnings\.warn\((?!.?resource_tracker)|.*(?:caller indicates that this is not a fail"
    r"|(?<!.)(?!.*\b(?:may|might|can|could|should|would|please|try|consider|unable)\b).*"
    r"(?:\b(?:re-?try(?:ing)?|trying again)\b(?! (?:failed|limit|later))"
    r"|\b(?:succeeded|failed), trying|\b(?:falling|fall|fell|falls)[ -]?back\b"
    r"|\busing .{1,40} instead\b"
    r"|\b(?:skipp(?:ed|ing)|ignor(?:ed|ing)|recovered|non-?fatal)\b"
    r"|(?:^|[,;:.\]-] *|\band )(?:reducing|lowering|halving|decreasing|switching|clearing)\b"
    r"|(?:attempting|trying) to .*(?:recover|due to|because of|after)"
    r"|\bcontinu(?:e|ing) (?:with|on|training)|\bwill continue))).*$"
)

#: A last line that no failed run ends with, unless it holds a sign itself.
_ENDED_WELL = re.compile(
    r"(?i)(?!.*(?:\bnot\b|process finished with|error|fail|abort|kill|exit|exception|reset|shut))"
    r".*(?:(?-i:\bINFO\b)|\b(?:done|finished|completed?|success\w*|saved|passed|as expected)\b"
    r"|\blistening on\b|\bok\W*$|\b(?:epoch|step|iter\w*)\W{0,3}\d.*(?:loss|acc|metric)).*"
)

#: A process ended here, so that a last line which sounds well is somebody else's.
_DIED = re.compile(
    r"(?m)\bcore dumped\b|terminate called after|\bAborted$|^Killed$|Fatal Python error"
    r"|(?:fault|error|Exception) by GPU"
)

#: A line that only warns; asked last, and never about the set-up: a warning of that was survived.
_WARNING = re.compile(
    r"(?m)^.*(?:(?i:\bwarn(?:ing)?\b|\w+Warning:)|\bINFO\b|\bDEBUG\b"
    r"|\b[WI] (?:tensorflow|external)/).*$"
)


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What words alone tell. ``doubt`` names the question that they leave open."""

    kind: TextKind
    because: str
    own_cap: bool = False
    doubt: Doubt | None = None


def judge_text(text: str, *, exit_code: int | None = None) -> Heard:
    """What the text alone tells of an end.

    "benign" where the run went on or ended well, "unknown" where nothing in it speaks.
    """
    if exit_code == 0:
        return Heard(kind="benign", because="exit code 0")
    tidy = tidied(text)
    rest = _after_going_on(tidy)
    heard = _hear(rest)
    if heard.kind == "unknown" and exit_code is not None and rest != tidy:
        heard = _hear(_WENT_ON.sub("", tidy))  # it failed all the same, so all it said counts
    if heard.kind != "unknown":
        return heard
    if exit_code in _BUS_CODES:
        return Heard(kind="host_oom", because=_BUS_BECAUSE)
    if exit_code is None and (rest != tidy or _only_warns(rest)):
        return Heard(kind="benign", because="the run went on")
    return heard


def _only_warns(text: str) -> bool:
    return bool(text.strip()) and not _WARNING.sub("", text).strip()


def tidied(text: str) -> str:
    """The text without tracebacks' frames and log prefixes, cut to what is worth a search."""
    lines = text[-_TEXT_LIMIT:].replace("\r", "\n")
    for noise, kept in ((_LONG_LINE, r"\1"), (_LOG_PREFIX, ""), (_FRAME, ""), (_SUPPOSED, "")):
        lines = noise.sub(kept, lines)
    return lines


def _after_going_on(text: str) -> str:
    """What stands after the last line by which the run is known to have gone on."""
    last = text.rstrip().rsplit("\n", 1)[-1]
    ended_well = _ENDED_WELL.fullmatch(last) and not _DIED.search(text)
    if ended_well and _first_sign(AFTER_CLASS, last) is None:
        return ""
    went_on = list(_WENT_ON.finditer(text))
    return text[went_on[-1].end() :] if went_on else text


def _hear(text: str) -> Heard:
    """Ask the last exception in the text; where there is none, all of it, its warnings last."""
    found = _last_exception(text)
    if found is not None:
        name, words = found
        heard = hear_exception((name,), words)
        if heard is None and not relays(name, words):
            return Heard(kind="user_error", because=short(words))
        if heard is not None:
            return heard
    signs = (*BEFORE_CLASS, *AFTER_CLASS)
    calm = _WARNING.sub("", text)
    heard = _first_sign(signs, calm)
    if heard is None and calm != text:
        heard = _first_sign([sign for sign in signs if sign.kind != "configuration"], text)
    return heard or Heard(kind="unknown", because="nothing on stderr tells why")


def _last_exception(text: str) -> tuple[str, str] | None:
    """Class and words of the last exception, from where its first direct cause starts."""
    found = list(_EXCEPTION.finditer(text))
    if not found:
        return None
    start = found[-1].start()
    for earlier in reversed(found[:-1]):
        if _CAUSE not in text[earlier.start() : start]:
            break
        start = earlier.start()
    return found[-1][1], text[start:]


def relays(name: str, message: str) -> bool:
    """The exception only passes on that something else ended."""
    return _RELAY.fullmatch(name) is not None or _RELAYED.search(message) is not None


def hear_exception(names: Sequence[str], message: str) -> Heard | None:
    """What an exception tells by its classes and message; None: it is the user's own."""
    heard = _first_sign(BEFORE_CLASS, message)
    if heard is not None:
        return heard
    for name in names:
        for pattern, kind in CLASSES:
            if pattern.fullmatch(name):
                because = message if name in message else f"{name}: {message}".rstrip(": ")
                return Heard(kind=kind, because=short(because), own_cap=_allowed(message))
    hints = _LIBRARY.fullmatch(names[0]) is not None
    return _first_sign([sign for sign in AFTER_CLASS if hints or not sign.hint], message)


def _first_sign(signs: Sequence[Sign], text: str) -> Heard | None:
    for sign in signs:
        found = sign.pattern.search(text)
        if found is not None:
            because = f"{sign.says} says: {short(_line_at(text, found.start()))}"
            own_cap = sign.kind == "device_oom" and _allowed(text)
            return Heard(kind=sign.kind, because=because, own_cap=own_cap, doubt=sign.doubt)
    return None


def _allowed(text: str) -> bool:
    """torch's own cap refused: what it holds and what it tried are more than it is allowed.

    The clause "4.00 GiB allowed;" alone does not say so: it is there whenever a cap is set, also
    when the device is what ran out (c10, CUDACachingAllocator.cpp). Sizes are rounded in the text.
    """
    allowed, tried = _ALLOWED.search(text), _TRIED.search(text)
    if allowed is None:
        return False
    if tried is None:
        return True
    reserved = sum(_bytes(found.groups()) for found in _RESERVED.finditer(text))
    return reserved + _bytes(tried.groups()) > 0.99 * _bytes(allowed.groups())


def _bytes(size: tuple[str | None, ...]) -> float:
    number, unit = size
    return float(number or 0) * _UNITS[unit or "bytes"]


def _line_at(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    return text[start:].split("\n", 1)[0]


def short(text: str) -> str:
    """The first line, at a length that a table bears."""
    line = text.strip().split("\n", 1)[0].strip()
    return line if len(line) <= 160 else line[:157] + "..."
