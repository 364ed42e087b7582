"""For the tests of all frameworks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

# Ray starts processes while threads of gRPC run. With gRPC's own care for that, one in eight of a head's servers for its clients
# died at once (Ray 2.60; none of 40 without). The variable is read where gRPC is imported first, here and in all that is started.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These trainings are tiny: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
