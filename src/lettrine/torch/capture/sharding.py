"""Sharded parameters: each process holds a part of them. DTensors (FSDP2, tensor parallel), and those of FSDP1."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.health.uniting import SHARD
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.capture.copies import local


def many_processes() -> bool:
    """Whether this process trains together with others."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return together and torch.distributed.get_world_size() > 1


def fsdp(module: nn.Module, name: str) -> bool:
    """Whether the class of a module is from `torch.distributed.fsdp`. If nobody uses that module, it is not imported."""
    return isinstance(module, _kinds(name))


def _kinds(*names: str) -> tuple[type, ...]:
    """Those of these classes of `torch.distributed.fsdp` that there are."""
    found = (getattr(sys.modules.get("torch.distributed.fsdp"), name, None) for name in names)
    return tuple(each for each in found if isinstance(each, type))


def gathers(model: nn.Module) -> bool:
    """Whether FSDP gathers whole parameters for each call. Those are not in `model.parameters()`."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False  # asked for several times at every sampled step, and there may be many modules
    kinds = _kinds("FSDPModule", "FullyShardedDataParallel")
    return any(isinstance(each, kinds) for each in model.modules())


@dataclass(frozen=True)
class Placed:
    """Where a parameter is. sharded: whether this rank holds only a part. part: which one; ranks with the same part hold the same
    values.
    """

    sharded: bool = False
    part: int = 0


def placed(model: nn.Module, parameter: Tensor) -> Placed:
    """The place of a parameter of the model."""
    if hasattr(parameter, "to_local"):
        return _of_mesh(parameter)
    whole: Any = next((each for each in model.modules() if fsdp(each, "FullyShardedDataParallel")), None)
    return Placed() if whole is None else Placed(whole.world_size > 1, whole.rank)


def _of_mesh(parameter: Any) -> Placed:
    """The place of a DTensor, along the axes of the mesh that split it."""
    mesh, sharded, number = parameter.device_mesh, False, 0
    for axis, placement in enumerate(parameter.placements):
        if placement.is_shard() and mesh.size(axis) > 1:
            sharded, number = True, number * mesh.size(axis) + mesh.get_local_rank(axis)
    return Placed(sharded, number)


def data_parallel(model: nn.Module) -> bool:
    """Whether each rank should get its own data. It should, unless something else than FSDP splits tensors between ranks.

    FSDP splits along one axis of a mesh. The other axis, if there is one, holds whole copies, as in HSDP.
    """
    parameters: list[Any] = [each for each in model.parameters() if hasattr(each, "to_local")]
    if any(fsdp(each, "FSDPModule") for each in model.modules()):
        return all(
            each.device_mesh.ndim == 1 or [at.is_shard() for at in each.placements] == [False, True] for each in parameters
        )
    return not parameters


def shards(model: nn.Module) -> Iterator[Evidence]:
    """Evidence that says which part of each sharded parameter this rank holds; `health.uniting` reads it."""
    for name, parameter in model.named_parameters():
        where = placed(model, parameter)
        if where.sharded and (values := local(parameter).numel()):
            yield Evidence(SHARD, (clean_name(name),), (0, 0), {"values": float(values), "part": float(where.part)})
