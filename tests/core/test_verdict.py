"""Why an attempt ended: the laws of the verdict, on texts as libraries write them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.model import Evidence, Verdict
from scheduler.core.verdict import Circumstances, judge, judge_text

GIB = 2**30
CARD = Circumstances(device_kind="amd", total_bytes=16 * GIB, free_bytes=(2 * GIB, GIB))
FULL_CARD = Circumstances(device_kind="amd", total_bytes=16 * GIB, free_bytes=(GIB, None, 2**28))
ROOMY_CARD = Circumstances(device_kind="amd", total_bytes=16 * GIB, free_bytes=(9 * GIB, 8 * GIB))
HOST = Circumstances(device_kind="host", total_bytes=64 * GIB, free_bytes=(2 * GIB,))

TORCH_OOM = (
    "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.98 GiB of "
    "which 512.00 MiB is free. Of the allocated memory 14.20 GiB is allocated by PyTorch, and "
    "96.00 MiB is reserved by PyTorch but unallocated."
)
TORCH_NAMES = ("torch.OutOfMemoryError", "RuntimeError", "Exception")
TRACEBACK = (
    'Traceback (most recent call last):\n  File "train.py", line 7, in objective\n    step()\n'
)


def failed(*names: str, message: str = "", stderr_tail: str = "") -> Evidence:
    return Evidence(
        outcome="failed", exit_code=1, exception=names, message=message, stderr_tail=stderr_tail
    )


# -- the text alone ---------------------------------------------------------------------------

DEVICE_OOM = [
    f"{TRACEBACK}torch.OutOfMemoryError: {TORCH_OOM}",
    "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15.90 GiB total)",
    "torch.AcceleratorError: CUDA error: out of memory\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
    "RuntimeError: cuda runtime error (2) : out of memory at THCCachingHostAllocator.cpp:278",
    "RuntimeError: MPS backend out of memory (MPS allocated: 8.50 GB, max allowed: 9.07 GB).",
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:\n\n"
    "OOM when allocating tensor with shape[256,512] on device:GPU:0 by allocator GPU_0_bfc",
    "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Failed to allocate request for 2.00GiB",
    "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000,000 bytes",
    "numba.cuda.cudadrv.driver.CudaAPIError: [2] Call to cuMemAlloc results in "
    "CUDA_ERROR_OUT_OF_MEMORY",
    "xgboost.core.XGBoostError: Memory allocation error on worker 0: std::bad_alloc: "
    "cudaErrorMemoryAllocation: out of memory",
    "lightgbm.basic.LightGBMError: [CUDA] out of memory cuda_column_data.cpp 35",
    "_catboost.CatBoostError: Error: Out of memory. Requested 11032 MB; Free 8260.0 MB",
    "MemoryError: std::bad_alloc: out_of_memory: CUDA error at: cuda_memory_resource.hpp:70",
    "mxnet.base.MXNetError: storage.h:151: cudaMalloc retry failed: out of memory",
    "ValueError: No available memory for the cache blocks. Try increasing the utilization.",
    "ggml_backend: allocating 8192.00 MiB on device 0: cudaMalloc failed: out of memory",
    "NCCL WARN Failed to CUDA calloc 33554432 bytes\n"
    "ncclUnhandledCudaError: Call to CUDA function failed.",
    f"[rank0]: {TRACEBACK}[rank0]: torch.OutOfMemoryError: {TORCH_OOM}\n{TRACEBACK}"
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \ntrain.py FAILED",
    f"{TRACEBACK}torch.OutOfMemoryError: {TORCH_OOM}\n\nThe above exception was the direct cause "
    f"of the following exception:\n\n{TRACEBACK}TrainingError: epoch 3",
]
HOST_OOM = [
    f"{TRACEBACK}MemoryError",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 GiB for an array",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
    "OSError: [Errno 12] Cannot allocate memory",
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor "
    "with shape[64,224] on /job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu",
    "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
    "lightgbm.basic.LightGBMError: bad allocation",
    "RuntimeError: DataLoader worker (pid 12847) is killed by signal: Killed. ",
    "ERROR: Unexpected bus error in worker. Caused by insufficient shared memory (shm).",
    "slurmstepd: error: Detected 1 oom_kill event in StepId=150432.batch.",
    "Memory cgroup out of memory: Killed process 4121 (python3) total-vm:41943040kB",
    "app.service: A process of this unit has been killed by the OOM killer.",
    "joblib.externals.loky.process_executor.TerminatedWorkerError: A worker was terminated.\n\n"
    "The exit codes of the workers are {SIGKILL(-9)}",
    "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
]
GPU_FAULT = [
    "Memory access fault by GPU node-1 (Agent handle: 0x55d1f8) on address 0x7f2e00000000.",
    "HW Exception by GPU node-1 (Agent handle: 0x5) reason :GPU Hang\nAborted (core dumped)",
    "torch.AcceleratorError: HIP error: an illegal memory access was encountered",
    "RuntimeError: HIP error: unspecified launch failure",
    "Queue 0x7f72 aborting with error : HSA_STATUS_ERROR_MEMORY_FAULT: code: 0x2b",
    "amdgpu 0000:03:00.0: amdgpu: GPU reset(2) succeeded!",
    "NVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
]
CONFIGURATION = [
    "RuntimeError: No HIP GPUs are available",
    "AssertionError: Torch not compiled with CUDA enabled",
    "RuntimeError: HIP error: invalid device function\n"
    "Compile with `TORCH_USE_HIP_DSA` to enable device-side assertions.",
    "RuntimeError: Cannot re-initialize CUDA in forked subprocess.",
    "ImportError: libamdhip64.so.6: cannot open shared object file: No such file or directory",
    "Unable to open /dev/kfd read-write: Permission denied",
    "rocBLAS error: Cannot read TensileLibrary.dat: Illegal seek for GPU arch : gfx1036",
    "lightgbm.basic.LightGBMError: GPU Tree Learner was not enabled in this build.",
    # On-chip memory of a kernel, which no neighbour can free.
    "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 147456. "
    "Reducing block sizes may help.",
]
USER_ERROR = [
    f"{TRACEBACK}ValueError: CUDA out of memory is expected above batch 512; choose less",
    "RuntimeError: refusing to start, the GPU would run out of memory",
    "OutOfMemoryError: the replay memory is out of memory slots",
    "OutOfMemoryBudgetError: the plan needs 20 GB of GPU memory",
    "AssertionError: expected no OOM on the GPU here",
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x512 and 640x768)",
    "RuntimeError: CUDA error: device-side assert triggered",
    "RuntimeError: CUDA out of memory. Tried to allocate more than 1EB memory.",
    f"WARNING: CUDA out of memory in epoch 1\n{TRACEBACK}IndexError: list index out of range",
    f"{TRACEBACK}torch.OutOfMemoryError: {TORCH_OOM}\n\nDuring handling of the above exception, "
    f"another exception occurred:\n\n{TRACEBACK}TypeError: 'NoneType' object is not callable",
    "[W 2026-01-01 00:00:00,000] Trial 1 failed with value nan.",
]
BENIGN = [
    "WARNING: CUDA out of memory, retrying with batch size 32\nepoch 1 loss 0.3",
    "W bfc_allocator.cc:311] Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.20GiB. "
    "The caller indicates that this is not a failure, but this may mean a loss of performance.",
    f"torch.OutOfMemoryError: {TORCH_OOM}\nCaught OOM; reducing batch size to 32\nepoch 1",
    "Copying the inputs failed, trying to move them to the CPU due to CUDA OOM",
    "WARN no ROCm backend: libamdhip64.so: cannot open shared object file\nINFO backend ready",
]
UNKNOWN = [
    "",
    "Terminated",
    "Segmentation fault (core dumped)",
    "OSError: [Errno 28] No space left on device",
]
BY_KIND = {
    "device_oom": DEVICE_OOM,
    "host_oom": HOST_OOM,
    "gpu_fault": GPU_FAULT,
    "configuration": CONFIGURATION,
    "user_error": USER_ERROR,
    "benign": BENIGN,
    "unknown": UNKNOWN,
}
SAMPLES = [(kind, text) for kind, texts in BY_KIND.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), SAMPLES)
def test_a_text_is_told_by_its_last_words(kind: str, text: str) -> None:
    """The last exception decides; what was handled, warned of or only talked about does not."""
    assert judge_text(text).kind == kind


@pytest.mark.parametrize(("kind", "text"), SAMPLES)
def test_no_text_makes_a_failure_of_exit_code_0(kind: str, text: str) -> None:
    """A process that left with 0 survived whatever it printed."""
    assert judge_text(text, exit_code=0).kind == "benign"
    verdict = judge(Evidence(exit_code=0, stderr_tail=text), circumstances=CARD)
    assert verdict.kind == "user_error"  # it never wrote an outcome


@pytest.mark.parametrize("text", DEVICE_OOM + HOST_OOM)
def test_a_failed_run_is_not_excused_by_what_it_printed_at_its_end(text: str) -> None:
    """Skipping an upload in the wake of an out-of-memory exception is not going on."""
    assert judge_text(f"{text}\nlogger: upload skipped", exit_code=1).kind != "benign"


def test_progress_bars_do_not_hide_the_exception() -> None:
    """A progress bar ends in a carriage return, so an exception may follow on its line."""
    text = "CUDA out of memory. Tried to allocate 2.00 GiB\r 50%|###   |\rKeyError: 'lr'"
    assert judge_text(text).kind == "user_error"


# -- what happened ----------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["complete", "pruned"])
@pytest.mark.parametrize("text", DEVICE_OOM[:2] + HOST_OOM[:2] + GPU_FAULT[:2])
def test_an_outcome_that_was_written_down_stands(outcome: str, text: str) -> None:
    """Finished wins over every text, signal and stop: no finished result is lost."""
    evidence = Evidence(outcome=outcome, exit_code=-9, signal=9, stderr_tail=text)  # type: ignore[arg-type]  # parametrize gives str
    around = Circumstances(device_kind="amd", oom_kills=2, stopped="a game started")
    assert judge(evidence, circumstances=around).kind == "finished"


def test_our_own_stop_wins_over_the_kill_that_it_was() -> None:
    """The SIGKILL that we sent is no news, whatever the kernel counted meanwhile."""
    around = Circumstances(device_kind="amd", oom_kills=1, stopped="a game started")
    verdict = judge(Evidence(signal=9), circumstances=around)
    assert verdict == Verdict(kind="stopped", because="a game started")


@pytest.mark.parametrize(
    ("names", "message", "kind"),
    [
        (TORCH_NAMES, TORCH_OOM, "device_oom"),
        (("torch.cuda.OutOfMemoryError", "RuntimeError"), "HIP out of memory.", "device_oom"),
        (("torch.AcceleratorError", "RuntimeError"), "HIP error: out of memory", "device_oom"),
        (("torch.AcceleratorError", "RuntimeError"), "invalid device function", "configuration"),
        (("cupy.cuda.memory.OutOfMemoryError", "MemoryError"), "", "device_oom"),
        (("MemoryError", "Exception"), "std::bad_alloc: cudaErrorMemoryAllocation", "device_oom"),
        (("MemoryError", "Exception"), "", "host_oom"),
        (("numpy._core._exceptions._ArrayMemoryError", "MemoryError"), "", "host_oom"),
        (("lightgbm.basic.LightGBMError", "Exception"), "bad allocation", "host_oom"),
        (("train.TrainingError", "Exception", *TORCH_NAMES), "epoch 3", "device_oom"),
        (("train.OutOfMemoryError", "Exception"), "no slots left", "user_error"),
        (("ValueError", "Exception"), "this GPU would run out of memory", "user_error"),
        (("OSError", "Exception"), "[Errno 28] No space left on device", "user_error"),
        (("KeyboardInterrupt", "BaseException"), "", "unknown_kill"),
    ],
)
def test_an_exception_is_told_by_its_class_before_its_message(
    names: tuple[str, ...], message: str, kind: str
) -> None:
    """Full class names decide; words count where a library speaks; the rest is the user's."""
    assert judge(failed(*names, message=message), circumstances=CARD).kind == kind


def test_an_exception_that_passes_on_anothers_end_is_looked_behind() -> None:
    """A worker's death is told by the worker's own words on stderr."""
    message = "DataLoader worker (pid(s) 1455) exited unexpectedly"
    evidence = failed("RuntimeError", message=message, stderr_tail=f"MemoryError: {TORCH_OOM}")
    assert judge(evidence, circumstances=CARD).kind == "host_oom"
    assert judge(failed("RuntimeError", message=message), circumstances=CARD).kind == "user_error"


def test_stderr_does_not_speak_for_an_exception_of_the_users_own() -> None:
    """An out-of-memory message that was logged and survived is not why a KeyError was raised."""
    evidence = failed(
        "KeyError", message="'lr'", stderr_tail=f"torch.OutOfMemoryError: {TORCH_OOM}"
    )
    assert judge(evidence, circumstances=CARD).kind == "user_error"


@pytest.mark.parametrize(
    ("evidence", "around", "kind"),
    [
        (Evidence(signal=9), Circumstances(device_kind="amd", oom_kills=1), "host_oom"),
        (Evidence(exit_code=137), Circumstances(device_kind="amd", oom_kills=1), "host_oom"),
        (Evidence(signal=9), Circumstances(device_kind="amd", oom_kills=0), "unknown_kill"),
        (Evidence(signal=9), CARD, "unknown_kill"),
        (Evidence(signal=9, stderr_tail=f"MemoryError\n{DEVICE_OOM[0]}"), CARD, "unknown_kill"),
        (Evidence(signal=15), FULL_CARD, "unknown_kill"),
        (Evidence(signal=6, stderr_tail=GPU_FAULT[1]), CARD, "gpu_fault"),
        (Evidence(exit_code=-6, stderr_tail=GPU_FAULT[0]), FULL_CARD, "gpu_fault"),
        (Evidence(signal=11), FULL_CARD, "device_oom"),
        (Evidence(signal=11), CARD, "unknown_kill"),
        (Evidence(signal=7), CARD, "host_oom"),
        (Evidence(), CARD, "unknown_kill"),
        (Evidence(exit_code=3), CARD, "user_error"),
        (Evidence(outcome="failed", exit_code=0), CARD, "user_error"),
    ],
)
def test_a_signal_is_told_by_who_had_reason_to_send_it(
    evidence: Evidence, around: Circumstances, kind: str
) -> None:
    """The kernel's count tells SIGKILL; a crash is told by its last words, then by a full card."""
    assert judge(evidence, circumstances=around).kind == kind


# -- what was around --------------------------------------------------------------------------

LAUNCH = failed("RuntimeError", message="HIP error: unspecified launch failure")
LIBRARY = failed(
    "RuntimeError", message="CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling hipblasCreate"
)
CHILD_KILLED = failed("RuntimeError", message="DataLoader worker (pid 9) is killed by signal: 9")
THREAD = failed("RuntimeError", message="can't start new thread")
BARE = failed("RuntimeError", message="out of memory")
CAPPED_HOST = Circumstances(
    device_kind="host", total_bytes=64 * GIB, cap_bytes=4 * GIB, peak_bytes=int(3.9 * GIB)
)


@pytest.mark.parametrize(
    ("evidence", "around", "kind"),
    [
        (LAUNCH, CARD, "gpu_fault"),
        (LAUNCH, FULL_CARD, "device_oom"),
        (LIBRARY, CARD, "device_oom"),
        (LIBRARY, ROOMY_CARD, "configuration"),
        (CHILD_KILLED, CARD, "host_oom"),
        (CHILD_KILLED, Circumstances(device_kind="amd", oom_kills=0), "unknown_kill"),
        (BARE, CARD, "device_oom"),
        (BARE, HOST, "host_oom"),
        (THREAD, HOST, "user_error"),
        (THREAD, CAPPED_HOST, "host_oom"),
    ],
)
def test_words_that_leave_a_question_are_answered_by_the_machine(
    evidence: Evidence, around: Circumstances, kind: str
) -> None:
    """The device's last seconds and the kernel's count break the tie; unknown breaks none."""
    assert judge(evidence, circumstances=around).kind == kind


def test_what_a_kernel_lacks_on_its_chip_is_the_trials_affair() -> None:
    """Another trial's block size may fit: this one follows ``catch`` and halts no run."""
    said = "out of resource: shared memory, Required: 147456, Hardware limit: 101376."
    names = ("triton.runtime.errors.OutOfResources", "triton.errors.TritonError", "Exception")
    verdict = judge(failed(*names, message=said), circumstances=CARD)
    assert verdict.kind == "user_error"
    assert judge_text(f"{names[0]}: {said}").kind == "configuration"


@pytest.mark.parametrize(
    ("allowed", "own_cap"),
    [
        ("4.00 GiB allowed;", True),  # it held 14.2 and tried 2: more than 4
        ("15.00 GiB allowed;", True),
        ("17.50 GiB allowed;", False),  # the card was what ran out
        ("", False),
    ],
)
def test_torch_ran_into_its_own_cap_if_it_wanted_more_than_allowed(
    allowed: str, own_cap: bool
) -> None:
    """The clause "allowed" alone says only that a cap was set."""
    message = TORCH_OOM.replace("is free.", f"is free. {allowed}")
    assert judge(failed(*TORCH_NAMES, message=message), circumstances=CARD).own_cap is own_cap


@pytest.mark.parametrize(
    ("peak_bytes", "free_bytes", "cap_bytes", "own_cap"),
    [
        (int(3.6 * GIB), (GIB,), 4 * GIB, True),  # seen near its cap
        (GIB, (5 * GIB,), 4 * GIB, True),  # more than the cap lay free
        (GIB, (20 * GIB, 9 * GIB), 12 * GIB, True),  # a seventh of the machine lay free
        (GIB, (GIB,), 4 * GIB, False),  # the machine was short
        (None, (), 4 * GIB, False),  # nothing is known
        (GIB, (50 * GIB,), None, False),  # no cap was set
    ],
)
def test_a_refusal_on_the_host_is_our_caps_where_memory_lay_free(
    peak_bytes: int | None, free_bytes: tuple[int, ...], cap_bytes: int | None, own_cap: bool
) -> None:
    """Only a cap refuses an allocation while memory lies free."""
    around = Circumstances(
        device_kind="host",
        total_bytes=64 * GIB,
        free_bytes=free_bytes,
        peak_bytes=peak_bytes,
        cap_bytes=cap_bytes,
    )
    verdict = judge(failed("MemoryError"), circumstances=around)
    assert (verdict.kind, verdict.own_cap) == ("host_oom", own_cap)


def test_a_kill_is_never_our_caps_doing() -> None:
    """A cap refuses; it kills nobody, however near the attempt was to it."""
    around = Circumstances(
        device_kind="host", cap_bytes=GIB, peak_bytes=GIB, free_bytes=(), oom_kills=1
    )
    verdict = judge(Evidence(signal=9), circumstances=around)
    assert (verdict.kind, verdict.own_cap) == ("host_oom", False)
    assert not judge(CHILD_KILLED, circumstances=around).own_cap


def test_the_reason_names_the_sign_that_decided() -> None:
    """A person reads who said it and what."""
    around = Circumstances(device_kind="amd", oom_kills=1)
    killed = judge(Evidence(signal=9), circumstances=around).because
    assert killed == "killed by signal 9 (SIGKILL) while the kernel's OOM killer counted 1 kill"
    said = judge(failed("RuntimeError", message=TORCH_OOM), circumstances=CARD).because
    assert said.startswith("torch says: HIP out of memory. Tried to allocate 2.00 GiB")
    assert len(said) < 200


# -- for every evidence -----------------------------------------------------------------------

WORDS = st.sampled_from([word for _, text in SAMPLES for word in text.splitlines()])
TEXTS = st.text(max_size=200) | st.lists(WORDS, max_size=6).map("\n".join)
EVIDENCE = st.builds(
    Evidence,
    outcome=st.sampled_from(["complete", "pruned", "failed", None]),
    exit_code=st.none() | st.integers(-70, 260),
    signal=st.none() | st.integers(1, 64),
    exception=st.lists(
        st.sampled_from([*TORCH_NAMES, "MemoryError", "x.Y"]) | st.text(), max_size=3
    ).map(tuple),
    message=TEXTS,
    stderr_tail=TEXTS,
    caught=st.booleans(),
)
SIZES = st.none() | st.integers(0, 2**40)
CIRCUMSTANCES = st.builds(
    Circumstances,
    device_kind=st.sampled_from(["amd", "nvidia", "host"]),
    company=st.booleans(),
    cap_bytes=SIZES,
    peak_bytes=SIZES,
    free_bytes=st.lists(SIZES, max_size=10).map(tuple),
    total_bytes=SIZES,
    oom_kills=st.none() | st.integers(0, 5),
    stopped=st.none() | st.text(),
)


@given(EVIDENCE, CIRCUMSTANCES)
def test_every_end_gets_one_verdict_and_a_reason(evidence: Evidence, around: Circumstances) -> None:
    """Nothing that a process leaves behind raises, and what is certain stays certain."""
    verdict = judge(evidence, circumstances=around)
    assert (verdict.kind == "finished") == (evidence.outcome in ("complete", "pruned"))
    if around.stopped is not None and verdict.kind != "finished":
        assert verdict.kind == "stopped"
    if verdict.own_cap:
        assert verdict.kind in ("device_oom", "host_oom")


@pytest.mark.timeout(5)  # takes 0.1 s; without the bounds 15 s
def test_a_hostile_text_costs_no_time() -> None:
    """A tail of any shape is read in well under a second: lines are cut, searches are bounded."""
    for piece in ("trying to ", "CUDA ", "1.", "A.", '  File "x"\n', "RESOURCE_EXHAUSTED:"):
        assert judge_text(piece * 50_000).kind is not None


def test_a_kill_at_the_limit_of_its_own_cgroup_is_its_own_cap() -> None:
    """Whatever the words: here a worker of torch's was the one that was killed."""
    around = Circumstances(device_kind="host", company=True, oom_kills=1)
    said = Evidence(
        outcome="failed",
        exit_code=1,
        exception=("RuntimeError", "Exception"),
        message="DataLoader worker (pid 7) is killed by signal: Killed.",
    )
    for evidence in (Evidence(signal=9), said):
        hit = msgspec.structs.replace(evidence, hit_own_limit=True)
        verdict = judge(hit, circumstances=around)
        assert (verdict.kind, verdict.own_cap) == ("host_oom", True)
        assert not judge(evidence, circumstances=around).own_cap
    done = Evidence(outcome="complete", exit_code=0, hit_own_limit=True)
    assert judge(done, circumstances=around).kind == "finished"
