"""What libraries, runtimes and kernels write when something ends badly, as data.

Covers torch, TensorFlow, JAX, Paddle, MXNet, CuPy, Numba, XGBoost, LightGBM, CatBoost, ONNX
Runtime, vLLM, ggml, NCCL, the CUDA and ROCm runtimes, their kernel drivers, and the usual OOM
killers. ``verdict`` says in which order these are asked, and who is believed.
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
#: "thread": refused for want of memory only under our own cap.
Doubt = Literal["launch", "library", "kill", "whose", "thread"]


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


_GPU = r"(?:CUDA|[Cc]uda|HIP|[Hh]ip[A-Z]|ROCm|rocm|GPU|gpu|VRAM|vram|NVIDIA|[Vv]ulkan|OpenCL)"
_NO_MEMORY = (
    r"(?i:out of (?:\w+ )?memory|\bOOM\b|insufficient (?:\w+ )?memory"
    r"|(?:failed|unable) to allocate|alloc\w* failed|not enough (?:\w+ )?memory)"
)

#: Asked before the exception's class is, because they say more than the class does.
BEFORE_CLASS = (
    # A request of an exabyte is a size that overflowed: no card satisfies it.
    *_signs("user_error", {"torch": r"Tried to allocate more than 1EB"}),
    # CuPy's and RAPIDS' exceptions for the card derive from MemoryError, thrust's from bad_alloc.
    *_signs(
        "device_oom",
        {
            "thrust": r"bad_?alloc\w*: .{0,60}(?:[Cc]uda|CUDA|hip[A-Z]|HIP|out_of_memory)",
            "RMM": r"\brmm::(?:bad_alloc|out_of_memory)|RMM.{0,60}(?i:out of memory|out_of_memory)",
            "NCCL": r"Failed to (?:CUDA|HIP) [cm]alloc|(?i:cuda|hip) failure 2\b",
        },
    ),
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
        "user_error", {"the kernel's assertion": r"device-side assert triggered|ErrorAssert\b"}
    ),
)

#: No device, no permission, the wrong build: every trial of the run would end alike.
CONFIGURATION = _signs(
    "configuration",
    {
        # On-chip memory of one kernel: not the card's memory, and no neighbour can free it.
        "the GPU compiler": r"out of resource: (?:shared memory|threads)"
        r"|(?i:shared memory size limit exceeded|local memory .{0,20}limit.{0,20}exceeded)"
        r"|uses too much shared data",
        "the GPU runtime": r"(?i)no (?:cuda|hip|rocm)[ -]?(?:capable|gpus?|devices?)\b"
        r"|no rocm-capable device|invalid device ordinal|no kernel image is available"
        r"|invalid device function|initialization error|driver version is insufficient"
        r"|system not yet initialized|driver is a stub library|kernel image is invalid"
        r"|device\(s\) is/are busy or unavailable|named symbol not found"
        r"|error.?(?:InitializationError|NoDevice|InvalidDevice|NoBinaryForGpu)"
        r"|CUDA_ERROR_(?:SYSTEM_NOT_READY|NO_DEVICE|INVALID_DEVICE|NOT_INITIALIZED|SYSTEM_DRIVER_MISMATCH)"
        r"|forward compatibility was attempted|PTX .{0,40}(?:unsupported|JIT compil)"
        r"|unsupported (?:gpu|toolchain)|unknown error - this may be due to an incorrectly set up",
        "torch": r"not compiled with (?:CUDA|ROCm|HIP|GPU)|Found no NVIDIA driver"
        r"|NVIDIA driver on your system is too old|Cannot re-initialize CUDA in forked"
        r"|Attempting to deserialize object on a? ?CUDA device|Invalid device id"
        r"|Expected one of cpu, cuda|is not compatible with the current PyTorch"
        r"|Torch is not able to use GPU|(?:CUDA|HIP) driver initialization failed",
        "the ROCm libraries": r"TensileLibrary|initialize Tensile|hipErrorNoBinaryForGpu"
        r"|MIOpen.{0,200}unable to open database|hsa_init.{0,40}fail|hipErrorNoDevice"
        r"|HSA_STATUS_ERROR_(?:INVALID_ISA|INCOMPATIBLE_ARG|NOT_INITIALIZED)"
        r"|[Uu]nsupported (?:GPU )?arch|no suitable (?:GPU|code object)|cannot find ROCm"
        r"|ROCk module is NOT loaded|Code object .{0,40}not (?:found|compatible)"
        r"|libamd_smi|name 'amdsmi' is not defined",
        "the device files": r"/dev/(?:kfd|dri|nvidia)\S*.{0,60}(?:denied|[Nn]o such|not permitted)"
        r"|(?:open|access|permission).{0,30}/dev/(?:kfd|dri/|nvidia)",
        "the loader": r"cannot open shared object file|undefined symbol: |DLL load failed"
        r"|version [`']\w+_[\d.]+' not found|cannot enable executable stack"
        r"|[Cc]ould not load (?:dynamic )?library|libdevice not found"
        r"|No module named '(?:torch|torchvision|amdsmi|triton|tensorflow|jax|jaxlib|cupy)\b",
        "the driver": r"could not select device driver"
        r"|NVML: (?:Driver/library version mismatch|Driver Not Loaded|Unknown Error)"
        r"|couldn't communicate with the NVIDIA driver|Driver/library version mismatch",
        "the library's build": r"not compiled with (?:CUDA|GPU|OpenCL)"
        r"|(?:GPU|CUDA) Tree Learner was not enabled|No OpenCL device found"
        r"|compiled without (?:CUDA|GPU|HIP)|not (?:built|compiled) with (?:CUDA|GPU|ROCm)"
        r"|Unable to initialize backend '(?:cuda|rocm|gpu)'|CUDA Setup failed",
    },
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
            "the ROCm runtime": r"Memory access fault by GPU|HW Exception by GPU|GPU Hang"
            r"|HSA_STATUS_ERROR_(?:EXCEPTION|ILLEGAL_INSTRUCTION|MEMORY_\w+|FATAL|INVALID_PACKET\w*"
            r"|INVALID_CODE\w*)|an HSAIL operation resulted in a hardware exception",
            "the GPU runtime": r"(?i)illegal memory access|misaligned address|illegal instruction"
            r" was encountered|uncorrectable (?:ECC|NVLink)|launch timed out|hardware stack error"
            r"|(?:cuda|hip)Error(?:IllegalAddress|MisalignedAddress|LaunchTimeOut|ECC\w+)"
            r"|CUDA_ERROR_(?:ILLEGAL|MISALIGNED|ECC)\w*|invalid program counter"
            r"|ErrorDeviceLost|device lost|hipErrorUnknown|CUDA error: unknown error",
            "the driver": r"(?i)GPU reset ?(?:begin|\(|succeeded|failed)|ring \S+ timeout"
            r"|NVRM: Xid|fallen off the bus|GPU is lost|GPU recovery|page fault \(src_id"
            r"|VM_L2_PROTECTION_FAULT|\[gfxhub\].{0,20}page fault|VRAM is lost|device wedged"
            r"|mode[12] reset|fence wait loop timeout|uncorrectable hardware errors"
            r"|MES failed to respond|queue preemption time ?out|cp queue .{0,30}timeout",
        },
    ),
)

#: The machine's own memory.
HOST_OOM = (
    *_signs(
        "host_oom",
        {
            "torch": r"DefaultCPUAllocator|alloc_cpu\.cpp",
            "TensorFlow": r"OOM when allocating tensor.{0,200}(?:device:CPU|allocator (?:cpu|mkl))"
            r"|Allocator \(\w*cpu\w*\) ran out of memory",
            "NumPy": r"Unable to allocate [\d.]+ \w+ for an array|_ArrayMemoryError",
            "OpenCL": r"(?i)out[ _]of[ _]host[ _]memory",
            "C++": r"(?m)\bstd::bad_alloc\b|(?:^|(?:Error|Exception): )bad allocation",
            "Arrow": r"ArrowMemoryError|(?:m|re)alloc of size \d+ failed",
            "the system": r"\[Errno 12\]|[Cc]annot allocate memory|\(os error 12\)"
            r"|error code 12\b|paging file is too small|os error 1455"
            r"|(?:malloc|mmap|calloc|virtual_alloc)\w*[ (:].{0,60}(?i:failed|out of memory)"
            r"|aligned_malloc: insufficient memory|memory allocation of \d+ bytes failed"
            r"|insufficient shared memory|out of shared memory"
            r"|(?i:java heap space|javascript heap out of memory)"
            r"|Unable to allocate shared memory",
            "the kernel": r"Out of memory: Kill|[Mm]emory cgroup out of memory|invoked oom-killer"
            r"|\b(?i:oom)[-_ ]kill(?:er|ed|:| event)|oom_reaper: reaped|OOMKill",
            "Slurm": r"srun: .{0,80}Out Of Memory|OOM Killed|[Ee]xceeded (?:job|step) memory limit"
            r"|oom_kill event|OUT_OF_MEMORY \(?ended|CANCELLED.{0,40}memory|PBS: .{0,40}mem\b"
            r"|TERM_MEMLIMIT",
            "an OOM daemon": r"systemd-oomd.{0,80}[Kk]ill|earlyoom|low memory! at or below"
            r"|memory pressure.{0,80}[Kk]ill|oomd\.service.{0,80}[Kk]ill|result 'oom-kill'",
            "Ray": r"ray\.exceptions\.OutOfMemoryError|node running low on memory",
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
            "torch": r"(?:CUDA|HIP|XPU) out of memory\.\s+Tried|MPS backend out of memory \("
            r"|cuda runtime error \(2\)|CUDACachingAllocator\.cpp.{0,20}INTERNAL ASSERT"
            r"|INTERNAL ASSERT.{0,80}CUDACachingAllocator",
            "the GPU runtime": r"CUDA_ERROR_OUT_OF_MEMORY|(?:cuda|hip)ErrorMemoryAllocation"
            r"|hipErrorOutOfMemory|ErrorOutOfDeviceMemory|ERROR_OUT_OF_DEVICE_MEMORY"
            r"|MEM_OBJECT_ALLOCATION_FAILURE|HSA_STATUS_ERROR_OUT_OF_MEMORY"
            r"|(?:cuda|hip|cuMem)\w*(?:[Mm]alloc|Alloc)\w*(?:\([^\n]{0,80}\))?[^\n]{0,40}"
            r"(?:failed|out of memory)",
            "JAX": r"RESOURCE_EXHAUSTED:[^\n]{0,120}(?i:out of memory|ran out of|allocat)",
            "TensorFlow": r"OOM when allocating tensor|[Rr]an out of memory trying to allocate"
            r"|failed to allocate [^\n]{0,60} from device",
            "Paddle": r"Out of memory error on GPU|Cannot allocate [^\n]{0,40} on GPU",
            "CuPy": r"Out of memory allocating [\d,]+ bytes",
            "CatBoost": r"TOutOfMemoryError|not enough memory for tree-ctrs"
            r"|Out of memory\. Requested [\d.]+ ?\w+; Free",
            "LightGBM": r"\[CUDA\] out of memory|Cannot allocate new OpenCL buffer",
            "vLLM": r"No available memory for the cache blocks|desired GPU memory utilization"
            r"|KV cache is needed, which is larger than|CUDA out of memory occurred when warming",
            "ggml": r"(?:failed|unable) to allocate (?:CUDA|ROCm|Vulkan|SYCL|HIP)\d* ",
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
        r"(?im)(?:error|fail\w*|cuda\]|hip\])[^\n]{0,40}[:\]] *['\"(]?out of memory"
        r"|^(?:\w+Error: ?)?out of memory\W*$",
    ),
    # An idle card has answered so too, so the card's own history is asked.
    _doubtful(
        "device_oom",
        "library",
        "a GPU library",
        r"\w+_STATUS_(?:ALLOC_FAILED|ALLOCATION_FAILED)|rocblas_status_memory_error"
        r"|miopenStatusAllocFailed|HSA_STATUS_ERROR_OUT_OF_RESOURCES"
        r"|CUBLAS_STATUS_NOT_INITIALIZED|CUDNN_STATUS_NOT_INITIALIZED"
        r"|[Rr]esource allocation failed",
    ),
)

HINTS = (
    _doubtful(
        "host_oom",
        "whose",
        "ONNX Runtime",  # its arena says the same on a card; its first provider is the CPU
        r"Failed to allocate memory for requested buffer(?! of size \d+ on (?:CUDA|ROCm|GPU))",
    ),
    *_signs(
        "device_oom",
        {"the program": rf"{_GPU}[^\n]{{0,160}}{_NO_MEMORY}|{_NO_MEMORY}[^\n]{{0,160}}{_GPU}"},
        hint=True,
    ),
    _doubtful(
        "device_oom",
        "whose",
        "the program",
        r"(?i)\bout of memory\b|resource exhausted",
        hint=True,
    ),
    _doubtful(
        "user_error",
        "thread",
        "Python",
        r"can't start new thread|pthread_create failed",
    ),
    *_signs("user_error", {"Optuna": r"The value \S+ is not acceptable|Trial \d+ failed with"}),
)

AFTER_CLASS = (*CONFIGURATION, *GPU_FAULT, *HOST_OOM, *DEVICE_OOM, *HINTS)

#: Exceptions whose class alone tells, by full name.
CLASSES: tuple[tuple[re.Pattern[str], TextKind], ...] = (
    (re.compile(r"torch(?:\.cuda|\._C)?\._?OutOfMemoryError"), "device_oom"),
    (re.compile(r"cupy(?:_backends)?\.[\w.]*OutOfMemoryError"), "device_oom"),
    (re.compile(r"numpy(?:\._?core)?\._exceptions\._ArrayMemoryError"), "host_oom"),
    (re.compile(r"(?:ray\.exceptions|pyarrow\.lib)\.(?:OutOf|Arrow)MemoryError"), "host_oom"),
    (re.compile(r"(?:builtins\.)?MemoryError"), "host_oom"),
    (re.compile(r"triton\.[\w.]*OutOfResources"), "configuration"),
    (re.compile(r"(?:builtins\.)?KeyboardInterrupt"), "unknown_kill"),
)

#: Exceptions that only pass on that something else ended: what came before them counts.
RELAY = re.compile(
    r"(?:.*\.)?(?:CalledProcessError|ChildFailedError|Process(?:Raised|Exited)Exception|SystemExit"
    r"|BrokenProcessPool|TerminatedWorkerError|WorkerCrashedError|RayTaskError|EngineDeadError"
    r"|BrokenPipeError|ConnectionResetError|EOFError|DistBackendError)"
)
RELAYED = re.compile(
    r"(?i)root cause|exited unexpectedly|unhandled (?:cuda|system) error"
    r"|see (?:\w+ ){0,3}(?:above|log)"
)

#: Exceptions in which a library or a runtime speaks, so that hints count.
LIBRARY = re.compile(
    r"(?:builtins\.)?SystemError|(?:torch|tensorflow|keras|jax|jaxlib|xla|cupy\w*|numba|numpy|xgboost|lightgbm|catboost"
    r"|_catboost|paddle|mxnet|onnxruntime|triton|vllm|ray|rmm|cudf|cuml|pycuda|pyopencl|pyarrow"
    r"|bitsandbytes|deepspeed|accelerate)\.[\w.]+"
    r"|(?:XGBoost|LightGBM|CatBoost|MXNet|Xla\w*|CudaAPI|Accelerator|Internal|ResourceExhausted)"
    r"(?:Runtime)?Error"
)

#: The run went on after this: what stands before it ended nothing. Advice is not an action.
WENT_ON = re.compile(
    r"(?im)^.*(?:caller indicates that this is not a fail"
    r"|(?<!.)(?!.*\b(?:may|might|can|could|should|would|please|try|consider|unable)\b).*"
    r"(?:\b(?:re-?try(?:ing)?|trying again)\b(?! (?:failed|limit|later))"
    r"|\b(?:succeeded|failed), trying|\b(?:falling|fall|fell|falls)[ -]?back\b"
    r"|\b(?:skipp(?:ed|ing)|ignor(?:ed|ing)|recovered|non-?fatal)\b"
    r"|(?:^|[,;:.\]-] *|\band )(?:reducing|lowering|halving|decreasing|switching|clearing)\b"
    r"|(?:attempting|trying) to .*(?:recover|due to|because of|after)"
    r"|\bcontinu(?:e|ing) (?:with|on|training)|\bwill continue)).*$"
)

#: A last line that no failed run ends with, unless it holds a sign itself.
ENDED_WELL = re.compile(
    r"(?i)(?!.*(?:\bnot\b|error|fail|abort|kill|exit|exception|reset))"
    r".*(?:(?-i:\bINFO\b)|\b(?:done|finished|completed?|success\w*|saved|passed|as expected)\b).*"
)

#: A line that only warns; asked last, and never about the set-up: a warning of that was survived.
WARNING = re.compile(
    r"(?m)^.*(?:(?i:\bwarn(?:ing)?\b|\w+Warning:)|\bINFO\b|\bDEBUG\b"
    r"|\b[WI] (?:tensorflow|external)/).*$"
)
