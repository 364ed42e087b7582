"""The hooks on the modules of a known network: compiled ones, which measure an output when it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.compiler import is_compiling

from lettrine.health.moments import native
from lettrine.torch.capture.compiled import note_traced
from lettrine.torch.capture.outputs import Hook, OutputCapture, Root
from lettrine.torch.private import graph_task, transform_level

_grad_enabled = torch.is_grad_enabled


class ReturnHook(Hook):
    """The forward hook of a module that the user calls and that is not measured: it notes that the call has returned."""

    __slots__ = ("_listening", "_root")

    def __init__(self, root: Root, listening: Callable[[], bool], otherwise: Callable[..., None]) -> None:
        super().__init__(otherwise)
        self._root, self._listening = root, listening

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """The module has been called."""
        if is_compiling():
            note_traced()
        elif self._listening():
            self._function(module, args, output)
        elif _grad_enabled():
            self._root.complete = True


class OutputHooks:
    """The compiled hooks of the modules of a known network.

    live: collects their figures. run: makes steps without Python, one after the other. outdated: whether the network has changed.
    """

    def __init__(self, live: Any, captures: Sequence[OutputCapture], run: Any) -> None:
        self.live, self._captures, self._run = live, captures, run
        self.outdated = False
        self._places: dict[Root, list[int]] = {}
        for place, capture in enumerate(captures):
            self._places.setdefault(capture.root, []).append(place)

    def hook(self, capture: OutputCapture, otherwise: Callable[..., None]) -> Any:
        """The forward hook of a module. If a step must be copied, it calls `otherwise`."""
        place = next((place for place, each in enumerate(self._captures) if each is capture), -1)
        if place < 0:
            return Hook(partial(self._unknown, capture, otherwise))
        return native.OutputHook(self.live, place, otherwise, _grad_enabled, graph_task, transform_level)

    def _unknown(self, capture: OutputCapture, otherwise: Callable[..., None], *args: Any) -> None:
        """A module is called that was not called before the network was known."""
        if _grad_enabled() and transform_level() is None:
            self.live.expected, self.outdated = False, True
            if capture.info is not None:  # only a step that is copied whole shows which module feeds it
                otherwise(*args)

    def call_hook(self, root: Root, otherwise: Callable[..., None]) -> Any:
        """The hook of a root before it is called."""
        return native.CallHook(self._run, self._places.get(root, []), otherwise)

    def opens(self, root: Root) -> bool:
        """The root is called. Returns whether this can be the only call of a step that is measured in place.

        An earlier call without a backward pass is forgotten.
        """
        if not self.live.expected:
            return False
        self.live.expected = not self.live.again(self._places.get(root, []))
        root.waiting = root.complete = self.live.expected  # it is read if the step is copied after all
        return self.live.expected  # type: ignore[no-any-return]
