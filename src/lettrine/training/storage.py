"""Files that are either complete or absent: written under a temporary name, flushed, renamed.

A run folder may come from a stranger: only ordinary files in the folder itself are read, and nothing is written through a link.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lettrine.errors import RunBusyError, RunDamagedError, StorageError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two processes in one run are then not refused
    fcntl = None  # type: ignore[assignment]

TEMPORARY: Final = ".partial"
MAX_JSON: Final = 256 * 2**20  # bytes: a vocabulary and results need far less


def write_bytes(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Replace the file in one step: at any instant it holds all of the old content or all of the new.

    Raises StorageError when the disk refuses; the old content is then untouched.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        try:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:  # a new file: a link left under that name by a stranger is not followed
                for part in (content,) if isinstance(content, bytes) else content:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _flush_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> StorageError:
    """The error message of the operating system, with the path and what to do."""
    return StorageError(f"cannot write {path}: {error.strerror or error}; free some space, or choose another --out")


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read, in one step."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RunDamagedError for anything else."""
    check_file(path, "expected a run folder written by lettrine train")
    try:
        if path.stat().st_size > MAX_JSON:
            raise RunDamagedError(
                f"{path} is larger than {MAX_JSON >> 20} MiB; expected a run's description; is this a run folder?"
            )
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise RunDamagedError(f"cannot read {path}: {error.strerror}; expected a run folder written by lettrine train") from None
    except (ValueError, RecursionError) as error:
        raise RunDamagedError(f"{path} is not valid JSON ({error}); the run is damaged, train again") from None
    if not isinstance(value, dict):
        raise RunDamagedError(f"{path} holds a {type(value).__name__}; expected a JSON object; the run is damaged, train again")
    return value


def check_file(path: Path, remedy: str) -> None:
    """Raise RunDamagedError unless this file of a run is there, an ordinary file, and not a link to somewhere else.

    Reading a pipe could wait forever, and a link could point at any file.
    """
    try:
        inside = path.resolve(strict=True).parent == path.parent.resolve()
        ordinary = path.is_file()
    except FileNotFoundError:
        raise RunDamagedError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError, RuntimeError) as error:  # no permission; a name that cannot be one; links in a circle
        raise RunDamagedError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; {remedy}") from None
    if not ordinary or not inside:
        what = "is no ordinary file" if inside else "is a link that leads out of the run folder"
        raise RunDamagedError(f"{path} {what}; put the file itself there")
    if not os.access(path, os.R_OK):  # not every reader would report this
        raise RunDamagedError(f"cannot read {path}: Permission denied; expected a run that you may read")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, str] | None = None) -> None:
    """Write named arrays as safetensors, in one step; `about` goes into the header."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    write_bytes(path, save(contiguous, metadata=dict(about) if about else None))


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Named arrays of a safetensors file and the text of its header. Raises RunDamagedError.

    safetensors compares the header with the size of the file before it allocates memory, and runs no code.
    """
    check_file(path, "the run is damaged or was stopped early: resume it, or train again")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except OSError as error:
        raise RunDamagedError(f"cannot read {path}: {error.strerror or error}; the run is damaged, train again") from None
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        # AttributeError: a type of number that numpy lacks.
        raise RunDamagedError(f"{path} is not a whole safetensors file ({error}); the run is damaged, train again") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for one training process. Raises RunBusyError if another holds it.

    The lock belongs to the operating system and ends with the process, so a kill leaves nothing to clean up.
    """
    if fcntl is None:  # pragma: no cover
        yield
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise storage_error(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusyError(f"another process is training in {folder}; wait for it, or choose another --out") from None
        except OSError:  # a file system without locks: train all the same
            pass
        for left_over in folder.glob(f"*{TEMPORARY}"):
            with contextlib.suppress(OSError):
                left_over.unlink()
        yield
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot flush a folder; the rename itself is still atomic
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
