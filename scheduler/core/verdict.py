"""Why an attempt ended: pure, from what the attempt left behind and what was around it.

Covers the verdict. Does not cover what follows from it for the trial and its neighbours, which is
the policy's, nor the words that are looked for, which are data in ``sentences``.

The order: what the attempt wrote itself, what we did to it, its exception, then its signal and the
last words on its stderr. Among words, a wrong set-up is asked about before a fault, a fault before
the machine's memory, and that before the card's, because the later ones are often seen in the
wake of the earlier. Only the last exception counts: log lines before it were survived.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from scheduler.core.heard import (
    Heard,
    hear_exception,
    judge_text,
    relays,
    short,
    tidied,
)
from scheduler.core.model import Evidence, Verdict
from scheduler.core.sentences import TextKind

__all__ = ["Circumstances", "Heard", "crashed", "judge", "judge_text"]

#: A card is full below this share of free memory: a GEMM that failed to launch for want of memory
#: was seen at 3 %.
FULL_RATIO = 0.04
#: Above this share nobody lacked memory, at the poll's resolution of a second.
ROOMY_RATIO = 0.10
#: An attempt that was seen this near to its cap ran into it: the poll misses the last allocation.
AT_CAP_RATIO = 0.85

_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
    24: "SIGXCPU",
}
#: Raised by the process's own doing, so that its last words tell why.
_OWN_SIGNALS = frozenset({4, 6, 7, 8, 11})
_KILL = 9
_BUS = 7


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What was around an attempt when it ended. None: not known."""

    device_kind: Literal["amd", "nvidia", "host"]
    company: bool = False  #: other attempts of ours were on the device in its last seconds
    cap_bytes: int | None = None
    peak_bytes: int | None = None  #: most the attempt was seen to hold
    #: total - used of the device, its last samples (about ten), oldest first
    free_bytes: tuple[int | None, ...] = ()
    total_bytes: int | None = None
    oom_kills: int | None = None  #: kernel OOM kills on the machine since the attempt started
    stopped: str | None = None  #: the reason, if we stopped it ourselves

    def least_free_bytes(self) -> int | None:
        return min((free for free in self.free_bytes if free is not None), default=None)

    def full(self) -> bool:
        """The device was nearly full. False where that is not known."""
        free = self.least_free_bytes()
        return free is not None and bool(self.total_bytes) and free < self._share(FULL_RATIO)

    def roomy(self) -> bool:
        """Memory lay free on the device all the time. False where that is not known."""
        free = self.least_free_bytes()
        return free is not None and bool(self.total_bytes) and free > self._share(ROOMY_RATIO)

    def at_cap(self) -> bool:
        """The attempt was seen close to its own cap. False where that is not known."""
        if self.cap_bytes is None or self.peak_bytes is None:
            return False
        return self.peak_bytes >= AT_CAP_RATIO * self.cap_bytes

    def _share(self, ratio: float) -> float:
        return ratio * (self.total_bytes or 0)


def judge(evidence: Evidence, *, circumstances: Circumstances) -> Verdict:
    """Why the attempt ended. Raises for nothing that a process can leave behind."""
    verdict = _judge(evidence, circumstances)
    if evidence.hit_own_limit and verdict.kind in ("host_oom", "unknown_kill"):
        because = f"{verdict.because}; the kernel killed in its own cgroup, at its cap"
        return Verdict(kind="host_oom", because=because, own_cap=True)
    return verdict


def _judge(evidence: Evidence, circumstances: Circumstances) -> Verdict:
    if evidence.outcome in ("complete", "pruned"):
        return Verdict(kind="finished", because=f"it wrote its outcome: {evidence.outcome}")
    if circumstances.stopped is not None:
        return Verdict(kind="stopped", because=circumstances.stopped)
    if evidence.exception:
        return _judge_exception(evidence, circumstances)
    if evidence.outcome == "failed":
        because = evidence.message or "it wrote that it failed, without an exception"
        return Verdict(kind="user_error", because=short(because))
    signal = _signal_of(evidence)
    if signal is not None:
        return _judge_signal(signal, evidence.stderr_tail, circumstances)
    return _judge_exit(evidence, circumstances)


def crashed(evidence: Evidence) -> bool:
    """Whether a signal of the process's own doing ended it, before it wrote an outcome."""
    return evidence.outcome is None and _signal_of(evidence) in _OWN_SIGNALS


# -- what happened, by the kind of end ----------------------------------------------------------


def _judge_exception(evidence: Evidence, circumstances: Circumstances) -> Verdict:
    names = evidence.exception
    heard = hear_exception(names, tidied(evidence.message))
    if heard is None and relays(names[0], evidence.message):
        heard = judge_text(evidence.stderr_tail)
    if heard is None or heard.kind in ("benign", "unknown"):
        said = f"{names[0]}: {evidence.message}" if evidence.message else names[0]
        return Verdict(kind="user_error", because=short(said))
    return _settle(heard, circumstances)


def _judge_signal(signal: int, stderr_tail: str, circumstances: Circumstances) -> Verdict:
    name = f"signal {signal} ({_SIGNALS[signal]})" if signal in _SIGNALS else f"signal {signal}"
    if signal == _KILL and circumstances.oom_kills:
        kills = circumstances.oom_kills
        counted = f"{kills} kill" if kills == 1 else f"{kills} kills"
        because = f"killed by {name} while the kernel's OOM killer counted {counted}"
        return Verdict(kind="host_oom", because=because)
    heard = judge_text(stderr_tail, exit_code=-signal)
    if signal in _OWN_SIGNALS:
        return _judge_crash(signal, name, heard, circumstances)
    # Whoever sends a signal from outside does not ask what was on stderr: an error logged there
    # was survived, unless it tells of an OOM killer.
    if heard.kind == "host_oom":
        return _settle(heard, circumstances, refused=False)
    return Verdict(kind="unknown_kill", because=f"ended by {name}, and nothing tells why")


def _judge_crash(signal: int, name: str, heard: Heard, around: Circumstances) -> Verdict:
    """Libraries written in C crash where an allocation is refused, often without a word."""
    if heard.kind not in ("benign", "unknown"):
        return _settle(heard, around, refused=signal != _BUS)
    if around.device_kind == "host" and (around.full() or around.at_cap()):
        where = "the machine's memory" if around.full() else "its cap"
        return _settle(Heard(kind="host_oom", because=f"crashed by {name} at {where}"), around)
    if around.device_kind != "host" and around.full():
        return Verdict(kind="device_oom", because=f"crashed by {name} while the card was full")
    return Verdict(kind="unknown_kill", because=f"crashed by {name}, and nothing tells why")


def _judge_exit(evidence: Evidence, circumstances: Circumstances) -> Verdict:
    heard = judge_text(evidence.stderr_tail, exit_code=evidence.exit_code)
    if heard.kind not in ("benign", "unknown"):
        return _settle(heard, circumstances)
    if evidence.exit_code is None:
        return Verdict(kind="unknown_kill", because="nobody saw how it ended")
    because = f"it left with exit code {evidence.exit_code} and without an outcome"
    return Verdict(kind="user_error", because=because)


def _signal_of(evidence: Evidence) -> int | None:
    """The signal, also as a shell (128 + n) or Python (-n) passes it on in the exit code."""
    if evidence.signal is not None:
        return evidence.signal
    code = evidence.exit_code
    if code is None:
        return None
    if code < 0:
        return -code
    return code - 128 if code - 128 in _SIGNALS else None


# -- what the words say, in the light of what was around ------------------------------------------


def _settle(heard: Heard, circumstances: Circumstances, *, refused: bool = True) -> Verdict:
    """``refused``: an allocation failed, as opposed to a kill, which is never our cap's doing."""
    kind, because = _resolve(heard, circumstances)
    if kind == "benign" or kind == "unknown":
        return Verdict(kind="unknown_kill", because=because)
    refused = refused and heard.doubt != "kill"
    own_cap = heard.own_cap or (refused and _own_cap(kind, circumstances))
    return Verdict(kind=kind, because=because, own_cap=own_cap)


def _resolve(heard: Heard, around: Circumstances) -> tuple[TextKind, str]:
    """Answer the doubt that the words leave."""
    on_card = around.device_kind != "host"
    match heard.doubt:
        case "launch" if on_card and around.full():
            return "device_oom", f"{heard.because}, with the card full"
        case "library" if on_card and around.roomy():
            return "configuration", f"{heard.because}, though the card had memory free"
        case "kill" if around.oom_kills == 0:
            return "unknown_kill", f"{heard.because}, and the kernel's OOM killer counted none"
        case "whose":
            return "device_oom" if on_card else "host_oom", heard.because
        case "kernel":  # the run must not be halted for what one trial asks of a kernel
            return "user_error", heard.because
        case "thread" if not on_card and around.at_cap():
            return "host_oom", heard.because
    return heard.kind, heard.because


def _own_cap(kind: TextKind, around: Circumstances) -> bool:
    """An allocation was refused by our cap, not for want of memory.

    On the host the cap is the only thing that refuses an allocation while memory lies free. A card
    refuses for fragmentation too, so there both signs are needed.
    """
    if around.cap_bytes is None:
        return False
    if kind == "device_oom" and around.device_kind != "host":
        return around.at_cap() and around.roomy()
    if kind == "host_oom" and around.device_kind == "host":
        free = around.least_free_bytes()
        return around.at_cap() or around.roomy() or (free is not None and free > around.cap_bytes)
    return False
