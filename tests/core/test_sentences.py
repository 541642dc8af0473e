"""What words tell: the grammar of refusals, whose words count, and what no text may be called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.model import Evidence
from scheduler.core.verdict import Circumstances, judge, judge_text

CARD = Circumstances(device_kind="amd", total_bytes=2**34, free_bytes=(2**31,))
TRACEBACK = 'Traceback (most recent call last):\n  File "fit.py", line 3, in <module>\n    fit()\n'

# -- a refusal: who refused, how much was wanted, and of which memory --------------------------

DEVICE = [
    "PoolAllocator: GPU 0 fail to allocate 104857600 bytes",
    "MIOpen Error: handlehip.cpp:70: Memory not available to allocate buffer: 655360000",
    "[10:00:00] device_helpers.cuh:428: Memory allocation error on worker 3: Caching allocator",
    "lib.java.XGBoostError: [10:00:00] a.cu:71: Memory allocation error on worker 0",
    "jaxlib.XlaRuntimeError: INTERNAL: Failed to allocate 1073741824 bytes for new constant",
    "lightgbm.basic.LightGBMError: Memory Object Allocation Failure",
    "Check failed: e == cudaSuccess CUDA: out of memory",
    "ValueError: Not enough GPU memory available to allocate the KV cache.",
    "RMM failure at: pool_memory_resource.hpp: Maximum pool size exceeded",
    "INFO start\n(Worker_TP0) ERROR torch.OutOfMemoryError: CUDA out of memory\nINFO shutting down",
    "CheckError: out of memory at [/src/platform/device_context.cc:219]",
    "RuntimeError: Error in gpu::Resources: alloc fail dev 0 size 1610612736 bytes",
    "FAILED t.py::test_x - RuntimeError: Resource exhausted: Out of memory trying to allocate 24 b",
    "tensorflow.errors_impl.InternalError: _EagerConst: Dst tensor is not initialized.",
    "E cuda_blas.cc:238] failed to create handle: CUBLAS_STATUS_ALLOC_FAILED\n"
    "tensorflow.errors_impl.InternalError: Blas GEMM launch failed",
    "[W 10:00:00] Trial 8 failed because of: OutOfMemoryError('HIP out of memory. Tried to"
    " allocate 16.00 MiB')",
    "RuntimeError: Pool a/tensor.h 16\ncuda failed with error 2 out of memory.",
    "[hiperror](2) in hipMalloc(&rows)",
    "RuntimeError: NPU out of memory. Tried to allocate 26.00 MiB (NPU 0; 28.50 GiB total)",
    "vulkan: Device memory allocation of size 313262080 failed.",
    "Requested amount of GPU memory (57662592 bytes) could not be allocated.\nterminate called",
    "[hevc_nvenc @ 0x6] InitializeEncoder failed: out of memory (10):\nCannot allocate memory",
    "    self.groups)\nRuntimeError: Unable to find a valid cuDNN algorithm to run convolution",
    "RuntimeError: CUDA out of memory. Tried to allocate 7.03 GiB (GPU 0)\n\nProcess finished with",
    "ERROR Your GPU ran out of memory with max_len 9. We recommend\nless of it\nand trying again.",
]
HOST = [
    "cuda_driver.cc:806] failed to alloc 4294967296 bytes on host: CUDA_ERROR_OUT_OF_MEMORY",
    "FATAL startup failed | cudaMallocHost failed: cudaErrorMemoryAllocation: out of memory",
    "pinned_memory_storage.h:54: Check failed: CUDA: out of memory",
    "cv2.error: alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 6220800000 bytes",
    "Failed to allocate memory for requested buffer of size 285081600",
    "OSError: Can't write data (memory allocation failed for raw data chunk)\nMemoryError",
    "OOM when allocating tensor with shape[8]\n [[Conv2D, _device=/replica:0/task:0/cpu:0]]",
    "pandas.errors.ParserError: Error tokenizing data. C error: out of memory",
    "multiprocessing.pool.MaybeEncodingError: Error sending result. Reason: 'MemoryError()'",
    "RuntimeError: unable to write to file </torch_11_22_0>: No space left on device (28)",
    "init.cc:9 include/shm.h:28 NCCL WARN Call to posix_fallocate failed : No space left on device",
    "RuntimeError: DataLoader worker (pid 5) is killed by signal: Bus error. ",
    "raylet: 6 Workers (tasks / actors) killed due to memory pressure (OOM)",
    "ray.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node a is used",
    "ray.exceptions.ObjectStoreFullError: Failed to put object ff in object store: it is full.",
    "  new = empty(newshape, arr.dtype)\n      MemoryError`",
    "[LightGBM] [Warning] bad allocation\nexited with code -1073740791.",
    "R: cannot allocate vector of size 11.8 Gb\nExecution halted",
    "Docker job has gone over memory limit of 16384 Mb",
    "Your notebook tried to allocate more memory than is available. It has restarted.",
    "Evicted 10m kubelet The node was low on resource: memory. Threshold quantity: 100Mi",
    "Error: model requires more system memory (44.0 GiB) than is available (7.6 GiB)",
    "Cluster: hawk\nState: OUT_OF_MEMORY (exit code 0)\nNodes: 1",
    "slurmstepd: error: *** JOB 6 ON n1 CANCELLED AT 2026-01-01 DUE TO MEMORY LIMIT ***",
]
FAULT = [
    "numba.cuda.cudadrv.driver.CudaAPIError: [700] Call to cuMemcpyDtoH results in UNKNOWN",
    "CUDA error 700 at detector.cpp:90",
    'runtime.cpp:2026: VMFaultHandler ... "GPU memory access fault"',
    "Memory critical error by agent node-0 (Agent handle: 0x5) on address 0x7f. Reason: in use.",
    "rocdevice.cpp: Queue 0x7f aborting with error : HSA_STATUS_ERROR: generic. code: 0x1000",
    "amdgpu: Queue preemption failed for queue with doorbell_id: 80004008",
    "jaxlib.XlaRuntimeError: INTERNAL: Accelerator device halted prematurely",
    "amdgpu 0000:c5:00.0: amdgpu: Ring gfx_0.0.0 reset failed",
    "amdgpu 0000:03:00.0: amdgpu: GPU reset succeeded, trying to resume\n[drm] PTB located",
    "HW Exception by GPU node-1 reason :GPU Hang\nAborted (core dumped)\nall benchmarks finished",
]
CONFIGURATION = [
    "RuntimeError: Unknown backend rocm. Available backends are ['cpu']",
    "CudaAPIError: [222] Call to cuModuleLoadDataEx\nresults in CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    "XGBoostError: [01:03:54] hist.cu:787: Check failed: id >= 0 : Must have at least one device",
    "torch.distributed.DistBackendError: NCCL error in: a.cpp:1275\nLast error:\n"
    "Duplicate GPU detected : rank 0 and rank 4 both on CUDA device 1000",
    "numba.cuda.cudadrv.error.CudaSupportError: \nCUDA driver library cannot be found.",
    "RuntimeError: Can't initialize NVML",
    "RuntimeError: CUDNN failure 1002: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
    "AssertionError: ROCm is not available on this node",
    "triton.runtime.errors.PTXASError: PTXAS error: Internal codegen error",
    "MIOpen(HIP): Error [Build] HIPRTC status = HIPRTC_ERROR_COMPILATION (6)",
    "catboost.CatBoostError: Environment for task type [GPU] not found",
    "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
    "InductorError: OutOfMemoryError: out of resource: triton_red Required: 131072",
]
USER = [
    "RuntimeError: CUDA out of memory. Tried to allocate 17179869183.95 GiB (GPU 0; 23.65 GiB)",
    "a/IndexKernel.cu:92: operator(): block: [16,0,0], thread: [0,0,0]\n"
    'Assertion `i < size && "index out of bounds"` failed.',
    "ValueError: device cuda:3 has 2 rows",
    "ValueError: batch size 4096 is too large for the GPU memory budget of 16 GB",
    "AssertionError: the model needs 20.1 GiB, the card has 16 GiB",
    "KeyError: 'gpu_memory_mb'",
    "RuntimeError: Trying to backward through the graph a second time after they were freed.",
    "Skipping batch due to OOM\n" + TRACEBACK + "AttributeError: 'NoneType' object has no 'data'",
    "Traceback (most recent call last):\nyaml.scanner.Oops: mapping values are not allowed here",
    "[LightGBM] [Fatal] Length of label is not same with #data",
    "Exception: no samples are left after the filter",
    "usage: fit.py [-h]\nfit.py: error: argument --memory-limit: invalid int value: '8G'",
    "[W 10:00:00] Trial 0 failed, because the value None could not be cast to float.",
]
SURVIVED = [
    "untiled buffer: cudaMalloc failed: out of memory\n[WARN] limit exceeded; retrying with tiling",
    "v.py:6: FitFailedWarning: fit failed. Details: \n"
    + TRACEBACK
    + "MemoryError: std::bad_alloc\n"
    '\n  warnings.warn("Estimator fit failed.")',
    "host_malloc: failed to allocate 1900.00 MiB of pinned memory\nserver is listening on :8080",
    "Not enough GPU memory to sort on the device, using managed memory instead.",
    "Skipping batch due to OOM\nEpoch 3, Loss: 0.4021",
    "test_oom_is_raised ... ok\nRan 1 test in 0.011s\n\nOK",
]
WARNED = ["W tensorflow/dso_loader.cc:64] Could not load dynamic library 'libcudart.so.11.0'"]
UNKNOWN = [
    "ray.exceptions.ActorDiedError: The actor died. There are some potential root causes. (1) The"
    " process is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop is called.",
    "DTensor(device='cuda:3')",
    "RuntimeError: NCCL aborted. Reason: Watchdog caught collective operation timeout: WorkNCCL()",
    "requests.exceptions.ConnectionError: Max retries exceeded with url: /model",
    "torch.distributed.elastic.multiprocessing.api.SignalException: got signal: 15",
    "RuntimeError: DataLoader worker (pid 5) is killed by signal: Segmentation fault. ",
]
BY_KIND = {
    "device_oom": DEVICE,
    "host_oom": HOST,
    "gpu_fault": FAULT,
    "configuration": CONFIGURATION,
    "user_error": USER,
    "benign": [*SURVIVED, *WARNED],
    "unknown": UNKNOWN,
}


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in BY_KIND.items() for text in texts]
)
def test_a_text_is_told_by_its_grammar(kind: str, text: str) -> None:
    """Who speaks, what was refused and where: words that no list of products holds."""
    assert judge_text(text).kind == kind


@pytest.mark.parametrize(
    ("place", "kind", "doubt"),
    [
        ("on GPU 0", "device_oom", None),
        ("in the VRAM pool", "device_oom", None),
        ("of pinned memory for the GPU", "host_oom", None),
        ("for the buffer", "host_oom", "whose"),
    ],
)
@pytest.mark.parametrize("verb", ["failed to allocate", "Unable to alloc", "could not allocate"])
def test_a_refusal_with_a_size_is_the_machines_wherever_it_is_raised(
    verb: str, place: str, kind: str, doubt: str | None
) -> None:
    """The memory is the one that the line names; where it names none the device decides."""
    heard = judge_text(f"RuntimeError: {verb} 2.50 GiB {place}")
    assert (heard.kind, heard.doubt) == (kind, doubt)


def test_a_refusal_without_a_size_is_believed_from_a_library_only() -> None:
    """A person may write the same words about memory that was never asked for."""
    words = "the GPU could not allocate its workers"
    assert judge_text(f"ValueError: {words}").kind == "user_error"
    assert judge_text(f"torch.SomeError: {words}").kind == "device_oom"


def test_a_refusal_that_names_no_memory_is_the_devices() -> None:
    """On a card's attempt an allocator that does not say where means the card."""
    evidence = Evidence(exit_code=1, stderr_tail="Failed to allocate 6220800000 bytes")
    on_host = Circumstances(device_kind="host")
    assert judge(evidence, circumstances=CARD).kind == "device_oom"
    assert judge(evidence, circumstances=on_host).kind == "host_oom"


@pytest.mark.parametrize(
    "prefix", ["[rank3]: ", "(Worker pid=71, ip=10.0.0.4) ", "> ", "ERROR 01-02 03:04:05 [c.py:9] "]
)
def test_an_exception_is_found_behind_the_name_of_who_writes_it(prefix: str) -> None:
    """Launchers put themselves before each line of a worker's traceback."""
    lines = f"{TRACEBACK}KeyError: 'CUDA out of memory'".splitlines()
    assert judge_text("\n".join(prefix + line for line in lines)).kind == "user_error"


@pytest.mark.parametrize("text", [*DEVICE, *HOST])
def test_a_warning_after_the_end_is_not_going_on(text: str) -> None:
    """Python warns of leaked semaphores when the process is gone already."""
    tail = "tracker.py:224: UserWarning: leaked\n  warnings.warn('resource_tracker: 1 leaked"
    assert judge_text(f"{text}\n{tail}").kind in ("device_oom", "host_oom")


# -- what no text may be called ---------------------------------------------------------------

TALK = st.sampled_from(
    ["out of memory", "GPU", "CUDA", "OOM", "memory", "batch 64 needs 12 GB", "VRAM budget", "0"]
)
OWN = st.sampled_from(["ValueError", "KeyError", "AssertionError", "RuntimeError", "my.MemoryPlan"])
LOGGED = st.lists(st.sampled_from([*DEVICE, *HOST, *FAULT, *SURVIVED, "epoch 1", ""]), max_size=4)
REFUSAL = st.sampled_from(
    [
        "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15 GiB total)",
        "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000 bytes",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.0 GiB for an array",
        "MemoryError",
    ]
)


@given(OWN, st.lists(TALK, max_size=5), LOGGED)
def test_an_exception_of_the_users_own_is_never_called_memory(
    name: str, talk: list[str], logged: list[str]
) -> None:
    """Whatever it talks about, and whatever was logged and survived before it."""
    text = "\n".join([*logged, f"{TRACEBACK}{name}: the plan says {' '.join(talk)}"])
    assert judge_text(text, exit_code=1).kind not in ("device_oom", "host_oom")


@given(LOGGED, REFUSAL, st.sampled_from([None, 1, -6, 134]))
def test_a_refusal_that_ended_the_run_is_never_called_the_users(
    logged: list[str], refusal: str, exit_code: int | None
) -> None:
    """It would be counted as a bug of theirs, and never be tried again."""
    text = "\n".join([*logged, TRACEBACK + refusal])
    assert judge_text(text, exit_code=exit_code).kind in ("device_oom", "host_oom")


@given(st.lists(st.sampled_from([*DEVICE, *HOST, *SURVIVED])), st.sampled_from(SURVIVED))
def test_what_the_run_survived_is_never_called_memory(logged: list[str], survived: str) -> None:
    """The last words tell that it went on."""
    assert judge_text("\n".join([*logged, survived])).kind not in ("device_oom", "host_oom")


PIECES = st.sampled_from([text for texts in BY_KIND.values() for text in texts]) | st.text()
TEXTS = st.lists(PIECES, max_size=5).map("\r\n".join)


@given(TEXTS, TEXTS, st.lists(st.text(), max_size=3).map(tuple), st.none() | st.integers())
def test_nothing_that_a_process_writes_raises(
    stderr_tail: str, message: str, names: tuple[str, ...], exit_code: int | None
) -> None:
    """Any text, any exception, any exit code: one verdict with a reason of one line."""
    evidence = Evidence(
        exit_code=exit_code, exception=names, message=message, stderr_tail=stderr_tail
    )
    verdict = judge(evidence, circumstances=CARD)
    assert "\n" not in verdict.because
    assert judge_text(stderr_tail, exit_code=exit_code).kind is not None


@pytest.mark.timeout(5)  # takes 0.3 s
def test_a_hostile_text_costs_no_time() -> None:
    """Lines that begin each sentence and end none are read in well under a second."""
    for piece in ("GPU failed to alloc ", "CUDA not ", "OOM when allocating tensor", "kill "):
        assert judge_text((piece * 90 + "\n") * 8).kind is not None
