"""A second device for torch, `second`: what a GPU is, without one. Its memory is the processor's, but torch keeps it apart: to
mix them is an error, whatever would wait for a GPU is counted, random numbers are drawn there, and it can do without float64.
Compiled at the first import, for the torch that is installed.
"""

from __future__ import annotations

import subprocess
import sysconfig
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch.utils.cpp_extension import include_paths, library_paths

from lettrine.torch.devices import has_float64

HERE = Path(__file__).parent


def compiled() -> Path:
    """The library, compiled if its source is newer."""
    built = HERE.parents[1] / "build" / f"second-device-{torch.__version__}-{sysconfig.get_platform()}.so"
    source = HERE / "device.cpp"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        built.parent.mkdir(exist_ok=True)
        [libraries] = library_paths()
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            fresh = Path(folder) / "device.so"
            command = ["c++", "-std=c++20", "-O0", "-shared", "-fPIC", *(f"-I{each}" for each in include_paths()), str(source)]
            command += ["-o", str(fresh), f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-ltorch", "-ltorch_cpu", "-lc10"]
            subprocess.run(command, check=True)
            fresh.replace(built)  # another process may compile the same
    return built


def register() -> None:
    """Makes torch know the device, in this whole process: for one that does nothing else."""
    torch.ops.load_library(str(compiled()))
    torch.utils.rename_privateuse1_backend("second")
    module = types.SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 1,
        current_device=lambda: 0,
        device=lambda _device: nullcontext(),
        manual_seed_all=torch.ops.second_device.seed,
        get_rng_state=lambda _device=0: torch.ops.second_device.random_state(),
        set_rng_state=lambda state, _device=0: torch.ops.second_device.set_random_state(state),
        get_amp_supported_dtype=lambda: [torch.float16, torch.bfloat16],
        _is_in_bad_fork=lambda: False,
    )
    torch._register_device_module("second", module)
    torch.utils.generate_methods_for_privateuse1_backend()


@contextmanager
def without_float64() -> Iterator[None]:
    """The device as a graphics card of Apple's: float64 is an error."""
    has_float64.cache_clear()
    torch.ops.second_device.with_float64(False)
    try:
        yield
    finally:
        torch.ops.second_device.with_float64(True)
        has_float64.cache_clear()


def waits() -> int:
    """How often a value of the device was waited for, since the start."""
    return int(torch.ops.second_device.waits())
