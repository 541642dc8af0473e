"""What libraries, runtimes and kernels write when something ends badly, as data.

Covers torch, TensorFlow, JAX, Paddle, MXNet, CuPy, Numba, XGBoost, LightGBM, CatBoost, ONNX
Runtime, vLLM, ggml, NCCL, the CUDA and ROCm runtimes, their kernel drivers, and the usual OOM
killers: first a small grammar of how machines word a refusal, then what it does not cover.
``verdict`` says in which order these are asked, and who is believed.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from scheduler.core.model import VerdictKind

TextKind = VerdictKind | Literal["benign", "unknown"]

#: Words that leave a question which the machine can answer. ``verdict`` has the answers.
#: "launch": a fault by its words, a full card by its history. "library": the other way round.
#: "kill": the OOM killer's usual way, unless the kernel counted none. "whose": memory, but which.
#: "thread": refused for want of memory only under our own cap. "kernel": this trial's, perhaps.
Doubt = Literal["launch", "library", "kill", "whose", "thread", "kernel"]


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """Words that point to a kind of end.

    A ``hint`` is words that a person might have written too. It counts only where a library or a
    runtime speaks, never in an exception of the user's own.
    """

    kind: TextKind
    says: str  #: who writes this, for people
    pattern: re.Pattern[str]
    doubt: Doubt | None = None
    hint: bool = False


def _signs(kind: TextKind, table: dict[str, str], *, hint: bool = False) -> tuple[Sign, ...]:
    return tuple(
        Sign(kind=kind, says=says, pattern=re.compile(words), hint=hint)
        for says, words in table.items()
    )


def _doubtful(kind: TextKind, doubt: Doubt, says: str, words: str, *, hint: bool = False) -> Sign:
    return Sign(kind=kind, says=says, pattern=re.compile(words), doubt=doubt, hint=hint)


def _line(*words: str) -> str:
    """One line that holds all of these, in any order."""
    return "(?m:^)" + "".join(rf"(?=.*?{word})" for word in words)


#: A card is named, or its code speaks: sources of GPU kernels end in .cu and .cuh.
_GPU = (
    r"(?:CUDA|[Cc]uda|cuMem|HIP|[Hh]ip[A-Z]|ROCm|rocm|MIOpen|[NR]CCL|GPU|gpu|VRAM|vram|NVIDIA"
    r"|[Vv]ulkan|[Dd]evice [Mm]emory|SYCL|OpenCL|\.cuh?[:(]\d)"
)
_GPU_STACK = r"(?:CUDA|HIP|ROCm|HSA|OpenCL|Vulkan|NVML|NVIDIA|GPU|MIOpen|Tensile|\w*BLAS|cuDNN)\b"
#: The machine's memory is named, also where a GPU runtime is asked to pin it.
_HOST = r"(?:bytes on host|[Pp]inned|[Pp]age-locked|\wMallocHost|\w[Hh]ost_?(?:[Mm]alloc|Alloc\b))"
_SIZE = r"(?:\d[\d.,]* ?(?:[KMGTP]i?[Bb]?\b|[Bb]ytes)|(?:size|buffer)(?:: ?| ?= ?| )\d{5})"
_REFUSED = (
    r"(?i:(?:fail\w*|unable|cannot|can't|could ?n[o']t|not available)(?: to)?(?: be)? (?:re)?alloc"
    r"|alloc\w*(?:(?: \w+){1,2}| of (?:size )?\d[\d.,]*(?: ?[KMGTP]?i?B| bytes)?)? (?:fail|error))"
)
_SHORT = r"(?i:out of (?:\w+ )?memory|\bOOM\b|(?:insufficient|not enough) (?:\w+ )?memory)"
_NO_MEMORY = rf"(?:{_REFUSED}|{_SHORT})"
#: CUDA and HIP number their errors alike (``cudaError_t``, ``hipError_t``). Device 2 is no error.
_CODE = (
    r"(?i:\b(?:cuda|hip)(?:api|runtime|driver)?(?:(?: \w+){0,2} )?(?:error|failure)\b"
    r"(?: code)?\]?:? ?[\[(]?)"
)
_MISSING = r"(?:not|n't|cannot)(?: be)? (?:found|available|enabled|installed|detected|support)"

#: Asked before the exception's class is, because they say more than the class does.
BEFORE_CLASS = (
    # A request of an exabyte is a size that overflowed: no card satisfies it.
    *_signs(
        "user_error",
        {"torch": r"Tried to allocate (?:more than 1EB|\d{8,}(?:\.\d+)? GiB)"},
    ),
    # CuPy's and RAPIDS' exceptions for the card derive from MemoryError, thrust's from bad_alloc.
    *_signs(
        "device_oom",
        {
            "thrust": r"bad_?alloc\w*: .{0,60}(?:[Cc]uda|CUDA|hip[A-Z]|HIP|out_of_memory)",
            "RMM": r"\brmm::(?:bad_alloc|out_of_memory)|RMM failure"
            r"|RMM.{0,60}(?i:out of memory|out_of_memory)",
            "the encoder": r"(?:nvenc|nvdec|cuvid)[^\n]{0,80}(?i:out of memory)",
            "NCCL": r"Failed to (?:CUDA|HIP) [cm]alloc|(?i:cuda|hip) failure 2\b",
        },
    ),
    # A full tmpfs is full memory, though the error is that of a disk.
    *_signs("host_oom", {"/dev/shm": r"(?:\bshm|</torch_|shared memory).{0,80}No space left"}),
    # Short of something that is not memory, though TensorFlow calls a full disk
    # ResourceExhaustedError and fork(2) a full process table "temporarily unavailable".
    *_signs(
        "unknown",
        {
            "the system": r"No space left on device|Disk quota exceeded|Too many open files"
            r"|\[Errno (?:5|11|24|28|104|110|111|113|116|122)\]"
        },
    ),
    # An index of the user's own out of range, seen by a kernel.
    *_signs(
        "user_error",
        {
            "the kernel's assertion": r"device-side assert triggered|ErrorAssert\b"
            r"|\.cuh?:\d+: .{0,120}thread: [\s\S]{0,40}Assertion"
        },
    ),
)

#: No device, no permission, the wrong build: every trial of the run would end alike.
CONFIGURATION = (
    # On-chip memory of one kernel: not the card's memory, and no neighbour can free it. A trial's
    # block or batch size may be what is too much for it.
    _doubtful(
        "configuration",
        "kernel",
        "the GPU compiler",
        r"out of resource: |(?i:(?:shared|local) memory .{0,20}limit.{0,20}exceeded)"
        r"|uses too much shared data|scoped vmem|memory space [vs]mem",
    ),
    *_signs(
        "configuration",
        {
            "the GPU compiler": r"(?i:ptxas (?:error|fatal))|(?:HIP|NV)RTC_ERROR"
            r"|Code object build failed|failed to translate module to HSACO",
            "the GPU runtime": r"(?i)\bno (?:\w+ )?(?:cuda|hip|rocm|gpu|nvidia|amd|opencl)[ -]?"
            r"(?:capable|gpus?|devices?|runtime is found|is found|found|detected)\b"
            r"|no kernel image is available|invalid (?:device (?:function|ordinal)|kernel file)"
            r"|initialization error|driver version is insufficient|_VERSION_MISMATCH"
            r"|system not yet initialized|driver is a stub library|kernel image is invalid"
            r"|devices?(?:\(s\))? (?:is/)?are busy or unavailable|named symbol not found"
            r"|error.?(?:InitializationError|NoDevice|InvalidDevice|NoBinaryForGpu|InsufficientDriver)"
            r"|CUDA_ERROR_(?:SYSTEM_NOT_READY|NO_DEVICE|INVALID_DEVICE|NOT_INITIALIZED|SYSTEM_DRIVER_MISMATCH)"
            r"|forward compatibility was attempted|PTX .{0,40}(?:unsupported|JIT compil)"
            r"|unsupported (?:gpu|toolchain)|shared object initialization failed"
            r"|unknown error - this may be due to an incorrectly set up"
            r"|CUDA_ERROR_(?:UNSUPPORTED|INVALID)_PTX\w*|(?i:at least one (?:gpu|cuda )?device\b)"
            rf"|{_CODE}(?:3|35|38|46|100|101|200|209|218|222|803|804)\b",
            "NCCL": r"Duplicate GPU detected|no socket interface found|Failed to bind NVLink",
            "torch": r"Cannot re-initialize CUDA in forked|Invalid device id"
            r"|Attempting to deserialize object on a? ?CUDA device|Found no NVIDIA driver"
            r"|NVIDIA driver on your system is too old|Torch is not able to use GPU"
            r"|Expected one of cpu, cuda|is not compatible with the current PyTorch",
            "the ROCm libraries": r"TensileLibrary|hipErrorNoBinaryForGpu"
            r"|MIOpen.{0,200}unable to open database|hsa_init.{0,40}fail"
            r"|HSA_STATUS_ERROR_(?:INVALID_ISA|INCOMPATIBLE_ARG|NOT_INITIALIZED)"
            r"|[Uu]nsupported (?:GPU )?arch|no suitable (?:GPU|code object)|cannot find ROCm"
            r"|ROCk module is NOT loaded|Code object .{0,40}not (?:found|compatible)"
            r"|name 'amdsmi' is not defined",
            "the device files": r"/dev/(?:kfd|dri|nvidia)\S*.{0,60}"
            r"(?i:denied|no such|not permitted)"
            r"|(?i:open|access|permission).{0,30}/dev/(?:kfd|dri/|nvidia)",
            "the loader": r"cannot open shared object file|undefined symbol: |DLL load failed"
            r"|version [`']\w+_[\d.]+' not found|cannot enable executable stack"
            r"|[Cc]ould not load (?:dynamic )?library|libdevice not found"
            r"|'lib\w+\.so[.\d]*'"
            r"|No module named '(?:torch|torchvision|amdsmi|triton|tensorflow|jax|jaxlib|cupy)\b",
            "the driver": r"could not select device driver|Driver/library version mismatch"
            r"|NVML: (?:Driver Not Loaded|Unknown Error)"
            r"|couldn't communicate with the NVIDIA driver",
            "the library's build": r"(?:GPU|CUDA) Tree Learner was not enabled"
            rf"|compiled without {_GPU_STACK}|not (?:built|compiled) with {_GPU_STACK}"
            r"|Unable to initialize backend '(?:cuda|rocm|gpu)'"
            r"|Unknown backend '?(?:cuda|rocm|hip|gpu)\b|CUDA Setup failed",
            "the set-up": rf"\b{_GPU_STACK}(?:(?!(?i:memory)).){{0,40}}{_MISSING}"
            r"|n['o]t support .{0,20}(?i:\bgpu)\b|compute capability"
            r"|only (?:support|avail)\w+ .{0,30}(?:GPUs|CUDA devices)"
            rf"|(?i:can(?:no|')t|failed to|could not|unable to) initiali[sz]e (?:\w+ )?{_GPU_STACK}"
            rf"(?!.*{_NO_MEMORY})",
        },
    ),
)

#: The card or its driver gave up; neighbours on the card may have died of it too.
GPU_FAULT = (
    # A GEMM ends so when 3 % of the card is free: out of memory dressed up as a launch failure.
    _doubtful(
        "gpu_fault",
        "launch",
        "the GPU runtime",
        r"(?i)unspecified launch failure|(?:cuda|hip)ErrorLaunchFailure|_ERROR_LAUNCH_FAILED"
        r"|\w+_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR)|miopenStatus(?:Internal|Unknown)Error",
    ),
    *_signs(
        "gpu_fault",
        {
            "the ROCm runtime": r"Memory (?:access|critical) (?:fault|error) by (?:GPU|agent)"
            r"|HW Exception by GPU|GPU Hang|aborting with error : (?!HSA_STATUS_ERROR_OUT_OF)HSA"
            r"|HSA_STATUS_ERROR_(?:EXCEPTION|ILLEGAL_INSTRUCTION|MEMORY_\w+|FATAL|INVALID_PACKET\w*"
            r"|INVALID_CODE\w*)|an HSAIL operation resulted in a hardware exception",
            "the GPU runtime": r"(?i)illegal memory access|misaligned address|illegal instruction"
            r" was encountered|uncorrectable (?:ECC|NVLink)|launch timed out|hardware stack error"
            r"|(?:cuda|hip)Error(?:IllegalAddress|MisalignedAddress|LaunchTimeOut|ECC\w+)"
            r"|CUDA_ERROR_(?:ILLEGAL|MISALIGNED|ECC)\w*|invalid program counter"
            r"|ErrorDeviceLost|device lost|hipErrorUnknown|CUDA error: unknown error"
            r"|GPU memory access fault|device halted"
            rf"|{_CODE}(?:30|214|220|700|702|714|715|716|717|718|999)\b",
            "the driver": r"(?i)GPU reset\b|ring \S+ (?:timeout|reset)|VM_L2_PROTECTION_FAULT"
            r"|NVRM: Xid|fallen off the bus|GPU is lost|GPU recovery|page fault \(src_id"
            r"|\[gfxhub\].{0,20}page fault|VRAM is lost|device wedged|mode[12] reset"
            r"|fence wait loop timeout|uncorrectable hardware errors|unrecoverable state"
            r"|MES failed to respon|queue preemption (?:time ?out|failed)|cp queue .{0,30}timeout",
        },
    ),
)

#: The machine's own memory.
HOST_OOM = (
    *_signs(
        "host_oom",
        {
            "the allocator": _line(_HOST, _NO_MEMORY),
            "torch": r"DefaultCPUAllocator|alloc_cpu\.cpp|Buy new RAM",
            # An operation on the card may name CPUs too, so the first device counts.
            "TensorFlow": r"OOM when allocating tensor(?:(?!(?i:gpu[_:]\d))[\s\S]){0,300}?"
            r"(?i:/(?:device:)?cpu:\d|allocator (?:cpu|mkl))"
            r"|Allocator \(\w*cpu\w*\) ran out of memory",
            "NumPy": r"Unable to allocate (?:[\d.]+ \w+ for an )?array",
            "OpenCL": r"(?i)out[ _]of[ _]host[ _]memory",
            "C++": r"(?m)\bstd::bad_alloc\b|(?:^|\] |(?:Error|Exception): )bad allocation",
            "Python": r"(?<!\w)MemoryError\(|(?:Fatal Python error: \w+|C error): out of memory",
            "the system": r"\[Errno 12\]|[Cc]annot allocate memory|\(os error 12\)"
            r"|error code 12\b|paging file is too small|os error 1455|virtual memory exhausted"
            r"|(?:[mc]alloc|realloc|mmap|virtual_alloc)\w*[ (:].{0,60}"
            r"(?i:failed|(?:out of|insufficient) memory)|memory allocation of \d+ bytes failed"
            r"|insufficient shared memory|out of shared memory|signal: Bus error|\(SIGBUS\)"
            r"|Unable to allocate shared memory"
            r"|(?i:java heap space|javascript heap out of memory|runtime: out of memory)",
            "the kernel": r"Out of memory: Kill|[Mm]emory cgroup out of memory|invoked oom-killer"
            r"|\b(?i:oom)[-_ ]kill(?:er|ed|:|'| event)|oom_reaper: reaped|OOMKill",
            "the system's limits": r"(?i)(?:over|above|beyond|exceed\w*) (?:\w+ )?memory limit of"
            r"|tried to (?:allocate|use) more memory than|low on resource: memory"
            r"|(?:requires?|needs?) more system memory",
            "who killed it": r"(?i)\bkill(?:ed|ing)\b.{0,40}\b(?:due to|because of|after)\b.{0,40}"
            r"\bmemory|\bcancelled\b.{0,60}\bmemory|job killed: v?mem",
            "Slurm": r"srun: .{0,80}Out Of Memory|oom_kill event|OUT_OF_MEMORY \(?ended"
            r"|State: OUT_OF_ME"
            r"|[Ee]xceeded (?:job|step) memory limit|TERM_MEMLIMIT",
            "an OOM daemon": r"systemd-oomd.{0,80}[Kk]ill|earlyoom|low memory! at or below"
            r"|memory pressure.{0,80}[Kk]ill|oomd\.service.{0,80}[Kk]ill",
            "Dask": r"KilledWorker|exceeded \d+% memory budget",
        },
    ),
    _doubtful(
        "host_oom",
        "kill",
        "its parent",
        r"(?i)exit ?codes?\W{0,5}(?:are )?\{?[^\n]{0,20}(?:-9\b|\b137\b|SIGKILL)"
        r"|return ?code\W{0,3}-9\b|Signals\.SIGKILL|signal: (?:Killed|9\b)|by signal 9\b"
        r"|with (?:signal|status) (?:SIGKILL|137)|(?m:^\s*Killed\s*$)|\bline \d+: +\d+ Killed\b"
        r"|signal 9 \(SIGKILL\)|\(core dumped\) Killed",
    ),
)

#: The card's memory, in the full sentences and error names of those who hand it out.
DEVICE_OOM = (
    *_signs(
        "device_oom",
        {
            "the allocator": _line(_GPU, _REFUSED, _SIZE),
            "torch": r"[A-Z]{2,5} out of memory\.\s+Tried|MPS backend out of memory \("
            rf"|{_CODE}2\b|CUDACachingAllocator\.cpp.{0, 20}INTERNAL ASSERT"
            r"|INTERNAL ASSERT.{0,80}CUDACachingAllocator",
            "the GPU runtime": r"CUDA_ERROR_OUT_OF_MEMORY|(?:cuda|hip)ErrorMemoryAllocation"
            r"|hipErrorOutOfMemory|ErrorOutOfDeviceMemory|ERROR_OUT_OF_DEVICE_MEMORY"
            r"|(?i:MEM(?:ORY)?[_ ]OBJECT[_ ]ALLOCATION[_ ]FAILURE)|HSA_STATUS_ERROR_OUT_OF_MEMORY"
            r"|(?:cuda|hip|cuMem)\w*(?:[Mm]alloc|Alloc)\w*(?:\([^\n]{0,80}\))?[^\n]{0,40}"
            r"(?:failed|out of memory)",
            "TensorFlow": r"Dst tensor is not initialized",
            "TensorRT": r"Requested amount of GPU memory",
            "CatBoost": r"TOutOfMemoryError|not enough memory for tree-ctrs",
            "vLLM": r"No available memory for the cache blocks|desired GPU memory utilization"
            r"|KV cache is needed, which is larger than|CUDA out of memory occurred when warming",
            "the driver": r"SVM mapping failed|exceeds resident system memory limit"
            r"|amdgpu[^\n]{0,120}(?:[Nn]ot enough memory|(?:allocat|reserv)\w+[^\n]{0,40}-12\b)"
            r"|\[TTM\] [^\n]{0,40}(?:evict|[Nn]o space)[^\n]{0,20}|Not enough memory for command",
        },
    ),
    # A machine's way to put it, as nobody words a message of their own.
    _doubtful(
        "device_oom",
        "whose",
        "the program",
        r"(?im)(?:error|fail\w*|cuda|hip)\b\]?[^\n]{0,40}[:\]] *['\"(]?out of memory"
        r"|^(?:\w+Error: ?)?out of memory(?:\W*$| at \[?/)"
        # Who allocates tells how much was wanted; who only talks about memory does not.
        r"|(?:out\s{1,2}of memory|\bOOM\b)[^\n]{0,40}\b(?:alloc\w*|requested)\s[^\n]{0,60}?\d"
        r"|(?:^|: )(?:not enough|insufficient) (?:free |available )?(?:gpu|device|cuda|hip) memory"
        r"|OOM when allocating tensor|(?:RESOURCE_EXHAUSTED|INTERNAL): [^\n]{0,120}allocat",
    ),
    # An idle card has answered so too, so the card's own history is asked.
    _doubtful(
        "device_oom",
        "library",
        "a GPU library",
        r"\w+_STATUS_(?:ALLOC_FAILED|ALLOCATION_FAILED)|rocblas_status_memory_error"
        r"|miopenStatusAllocFailed|HSA_STATUS_ERROR_OUT_OF_RESOURCES"
        r"|CUBLAS_STATUS_NOT_INITIALIZED|CUDNN_STATUS_NOT_INITIALIZED"
        r"|[Rr]esource allocation failed|Unable to find a valid cuDNN algorithm",
    ),
    # No card is named. ONNX Runtime's arena says the same on one; its first provider is the CPU.
    _doubtful("host_oom", "whose", "the allocator", _line(_REFUSED, _SIZE)),
)

HINTS = (
    *_signs("device_oom", {"the program": _line(_GPU, _NO_MEMORY)}, hint=True),
    _doubtful(
        "device_oom",
        "whose",
        "the program",
        r"(?i)\bout of memory\b|resource exhausted",
        hint=True,
    ),
    _doubtful("host_oom", "whose", "the program", _REFUSED, hint=True),
    _doubtful(
        "user_error",
        "thread",
        "Python",
        r"can't start new thread|pthread_create failed",
    ),
    *_signs(
        "user_error",
        {
            "LightGBM": r"\[LightGBM\] \[Fatal\]",
            "Optuna": r"The value \S+ is not acceptable|Trial \d+ failed\b",
            "argparse": r"error: (?:argument |unrecognized arguments|the following arguments)",
        },
    ),
    # Asked last: a peer's connection breaks too where memory ran out.
    *_signs(
        "unknown",
        {
            "the network": r"Max retries exceeded|[Cc]onnection (?:refused|reset|timed out)"
            r"|in name resolution|database is locked|collective operation timeout"
            r"|Input/output error"
        },
    ),
)
AFTER_CLASS = (*CONFIGURATION, *GPU_FAULT, *HOST_OOM, *DEVICE_OOM, *HINTS)

#: Exceptions whose class alone tells, by full name.
CLASSES: tuple[tuple[re.Pattern[str], TextKind], ...] = (
    (re.compile(r"torch(?:\.cuda|\._C)?\._?OutOfMemoryError"), "device_oom"),
    (re.compile(r"cupy(?:_backends)?\.[\w.]*OutOfMemoryError"), "device_oom"),
    (re.compile(r"numpy(?:\._?core)?\._exceptions\.(?:_Array)?MemoryError"), "host_oom"),
    (re.compile(r"ray\.[\w.]*(?:OutOfMemory|ObjectStoreFull)Error"), "host_oom"),
    (re.compile(r"(?:pyarrow\.lib\.)?ArrowMemoryError"), "host_oom"),
    (re.compile(r"(?:builtins\.)?MemoryError"), "host_oom"),
    (re.compile(r"(?:builtins\.)?KeyboardInterrupt"), "unknown_kill"),
)
