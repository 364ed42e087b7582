"""Sharded parameters, of which each process holds a part: DTensors (FSDP2, tensor parallel), and those of FSDP1."""

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
    """Whether a module is of a class of `torch.distributed.fsdp`, which is not loaded where nobody uses it."""
    kind = getattr(sys.modules.get("torch.distributed.fsdp"), name, None)
    return isinstance(kind, type) and isinstance(module, kind)


def gathers(model: nn.Module) -> bool:
    """Whether FSDP gathers whole parameters for each call. These are not among `model.parameters()`."""
    return any(fsdp(each, "FSDPModule") or fsdp(each, "FullyShardedDataParallel") for each in model.modules())


@dataclass(frozen=True)
class Placed:
    """Where a parameter lies. sharded: whether this rank holds a part of it. part: which; ranks with the same part hold the same
    values.
    """

    sharded: bool = False
    part: int = 0


def placed(model: nn.Module, parameter: Tensor) -> Placed:
    """Of a parameter of the model."""
    if hasattr(parameter, "to_local"):
        return _of_mesh(parameter)
    whole: Any = next((each for each in model.modules() if fsdp(each, "FullyShardedDataParallel")), None)
    return Placed() if whole is None else Placed(whole.world_size > 1, whole.rank)


def _of_mesh(parameter: Any) -> Placed:
    """Of a DTensor: its place along the axes of the mesh that it is split along."""
    mesh, sharded, number = parameter.device_mesh, False, 0
    for axis, placement in enumerate(parameter.placements):
        if placement.is_shard() and mesh.size(axis) > 1:
            sharded, number = True, number * mesh.size(axis) + mesh.get_local_rank(axis)
    return Placed(sharded, number)


def data_parallel(model: nn.Module) -> bool:
    """Whether each rank should get its own data: so it is unless tensors are split between ranks by other means than FSDP."""
    if any(fsdp(each, "FSDPModule") for each in model.modules()):
        meshes = [mesh for each in model.parameters() if (mesh := getattr(each, "device_mesh", None)) is not None]
        return all(mesh.ndim == 1 for mesh in meshes)
    return not any(hasattr(each, "to_local") for each in model.parameters())


def shards(model: nn.Module) -> Iterator[Evidence]:
    """Evidence of which part of each sharded parameter this rank holds; `health.uniting` reads it."""
    for name, parameter in model.named_parameters():
        where = placed(model, parameter)
        if where.sharded and (values := local(parameter).numel()):
            yield Evidence(SHARD, (clean_name(name),), (0, 0), {"values": float(values), "part": float(where.part)})
