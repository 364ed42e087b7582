"""A second device for torch, `second`: what a GPU is, without one. Its memory is the processor's, but torch keeps it apart: to
mix them is an error, and whatever would wait for a GPU is counted. Compiled at the first import, for the torch that is installed.
"""

from __future__ import annotations

import subprocess
import sysconfig
import tempfile
import types
from pathlib import Path

import torch
from torch.utils.cpp_extension import include_paths, library_paths

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
        manual_seed_all=lambda _seed: None,
        get_rng_state=lambda _device=0: torch.get_rng_state(),
        set_rng_state=lambda _state, _device=0: None,
        get_amp_supported_dtype=lambda: [torch.float16, torch.bfloat16],
        _is_in_bad_fork=lambda: False,
    )
    torch._register_device_module("second", module)
    torch.utils.generate_methods_for_privateuse1_backend()


def waits() -> int:
    """How often a value of the device was waited for, since the start."""
    return int(torch.ops.second_device.waits())
