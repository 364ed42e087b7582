"""Listening to modules: hooks that copy outputs and their gradients during one sampled step.

Forward hooks stand on modules only while a step is sampled. The gradient of an output is caught where autograd passes it to
the operation that made the output (a hook on the node), so that an activation working in place cannot disturb it, and
no gradient is changed. Nothing here draws a random number, and nothing keeps the user's tensors.

A module called several times in one step (shared, recurrent, gradient accumulation) is measured over its calls together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lettrine.health.trace import ModuleInfo
from lettrine.torch.catalogue import CHANNELS_FIRST, UNITS_LAST, activation_of, has_bias, kind_of, named_modules, role_of
from lettrine.torch.graph import (
    FunctionalActivation,
    Node,
    activation_key,
    behind_logits,
    follow,
    operation,
    same_values,
    saved_result,
    source,
)
from lettrine.torch.measure import Copy, dense, fetch, measurable
from lettrine.torch.taps import Call, Listener, Root, Tap, grad_node, main_tensor, recomputing


class ModuleProbe:
    """The modules of one model, heard during sampled steps.

    model: already unwrapped. fail: told of an exception inside a hook; the user's training never sees it.

    taps: what was heard so far, by name, in the order of the first forward pass. batch_size: of the last call of the model.
    training: share of modules in training mode then. calls: of anything, so far. input: what the model was given.
    on_logits: given the gradient of the logits, where `logits` names the module that makes them.
    """

    def __init__(self, model: nn.Module, fail: Callable[[Exception], None]) -> None:
        self._fail = fail
        self._handles: list[Any] = []
        self._passing: list[Any] = []  # hooks on nodes of the graph
        self._nodes: dict[Node, str] = {}  # what made which tensor, in this step
        self._last: Tensor | None = None
        roots = list(model.children()) if type(model).forward is nn.Module.forward else [model]
        self._roots = [Root(module) for module in roots]
        self._all = [Tap(name, module, self._root_of(module)) for name, module in named_modules(model)]
        self._modes = list(model.modules())
        self.taps: dict[str, Tap] = {}
        self.batch_size = 0
        self.training = float("nan")
        self.calls = 0
        self.input = Copy()
        self.input_heard = False
        self.tail: dict[Node, str] = {}
        self.logits = ""
        self.on_logits: Callable[[Tensor, int], None] | None = None

    @property
    def listening(self) -> bool:
        """Whether hooks stand on the modules."""
        return bool(self._handles)

    def install(self) -> None:
        """Begin a sampled step: put a hook on every module that has something to say."""
        if self._handles:
            return
        for root in self._roots:
            hook = Listener(partial(self._guard, self._begin, root))
            self._handles.append(root.module.register_forward_pre_hook(hook, with_kwargs=True))
        for tap in self._all:
            if tap.module is not None and (not tap.silent or tap.module is tap.root.module):
                self._handles.append(tap.module.register_forward_hook(Listener(partial(self._guard, self._forward, tap))))

    def remove(self) -> None:
        """Take every hook away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forget(self) -> None:
        """Begin the next step, listening or not."""
        for handle in self._passing:
            handle.remove()
        self._passing.clear()
        self._nodes.clear()
        self._last = None
        for tap in self.taps.values():
            tap.forget()
        for root in self._roots:
            root.waiting = False
        self.input_heard = False

    def input_finite(self) -> bool:
        """Whether what the model was given in this step was finite, as far as it was looked at."""
        if not self.input_heard:
            return True
        fetch([self.input])
        return bool(np.isfinite(self.input.array).all())

    def heard(self) -> list[Tap]:
        """The taps that were called in this step, in the order of the first forward pass."""
        return [tap for tap in self.taps.values() if tap.used]

    def infos(self) -> list[ModuleInfo]:
        """What is known of each module heard so far; the one whose output the model returns has the role "output"."""
        infos = [tap.info for tap in self.taps.values() if tap.info is not None]
        names = {root.output for root in self._roots if root.output} or {info.name for info in infos[-1:]}
        return [replace(info, role="output") if info.name in names else info for info in infos]

    def _guard(self, hook: Callable[..., None], *args: Any) -> None:
        try:
            hook(*args)
        except Exception as error:  # noqa: BLE001  the user's training goes on whatever happens here; the report shows it
            self._fail(error)

    def _root_of(self, module: nn.Module) -> Root:
        return next((root for root in self._roots if any(module is each for each in root.module.modules())), self._roots[0])

    def _begin(self, root: Root, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The user calls the model."""
        if not torch.is_grad_enabled() or recomputing() or (root.waiting and not root.complete):
            return  # evaluation, a checkpointed block done again, or the model calling itself
        discard = root.waiting or self._overflowed(root)
        if discard:  # the last call was never followed by a backward pass: it was no training, or a GradScaler threw it away
            for tap in self.taps.values():
                if tap.root is root:
                    tap.forget()
        if discard or not any(each.waiting for each in self._roots):
            self._nodes.clear()
        root.waiting, root.complete = True, False
        self.training = sum(module.training for module in self._modes) / len(self._modes)
        given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if given is not None:
            self.batch_size = given.shape[0] if given.ndim else 1
            self.input_heard = measurable(given)
            if self.input_heard:
                self.input.take(given)

    def _overflowed(self, root: Root) -> bool:
        """Whether the calls so far of this step ended in gradients that are not finite."""
        calls = [call for tap in self.taps.values() if tap.root is root for call in tap.made if call.arrived]
        fetch(call.slope for call in calls)
        return not all(np.isfinite(call.slope.array).all() for call in calls)

    def _forward(self, tap: Tap, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A module has been called."""
        if not torch.is_grad_enabled() or (tap.used and recomputing()):
            return
        self.calls += 1
        tensor = main_tensor(output)
        if tensor is not None:
            node = grad_node(tensor)
            if tap.info is None:
                self._meet(tap, module, args, tensor, node)
            if tap.feed is not None:
                self._take_feed(tap.feed, args)
            if not tap.silent:
                if node is not None:
                    self._nodes.setdefault(node, tap.name)
                self._take(tap, tensor, node)
                if tap.norm is not None and not tap.norm.heard:
                    tap.norm.take(args)
            self._last = tensor
        if module is tap.root.module:
            tap.root.complete = True
            self._nodes_of_output(tap.root)

    def _nodes_of_output(self, root: Root) -> None:
        self.tail = {node: name for node, name in self._nodes.items() if name == root.output}

    def _take(self, tap: Tap, tensor: Tensor, node: Node | None) -> None:
        call = tap.next_call()
        if call is None:
            if node is not None:  # only to know that a backward pass came
                self._passing.append(node.register_prehook(partial(self._guard, self._returned, tap.root)))
            return
        call.output.take(tensor, tap.axis)
        if node is not None:
            call.place = tensor.output_nr
            self._passing.append(node.register_prehook(partial(self._guard, self._backward, call)))

    def _returned(self, root: Root, _: tuple[Tensor | None, ...]) -> None:
        root.waiting = False

    def _backward(self, call: Call, gradients: tuple[Tensor | None, ...]) -> None:
        """The gradient of an output arrives."""
        call.tap.root.waiting = False
        gradient = dense(gradients[call.place])
        if gradient is not None:
            call.slope.take(gradient)
            call.arrived = True
            if call.tap.name == self.logits and self.on_logits is not None:
                self.on_logits(gradient, call.tap.axis)

    def _take_feed(self, feed: tuple[tuple[int, ...], Tap], args: tuple[Any, ...]) -> None:
        path, tap = feed
        if args and isinstance(args[0], Tensor) and (node := follow(grad_node(args[0]), path)) is not None:
            if activation_key(node) is None or node in self._nodes:
                return
            tensor = saved_result(node) if path else args[0]
            if tensor is not None and measurable(tensor):
                self._nodes[node] = tap.name
                self._take(tap, tensor, node)

    def _meet(self, tap: Tap, module: nn.Module, args: tuple[Any, ...], tensor: Tensor, node: Node | None) -> None:
        """A module is called for the first time: find out what it is."""
        role = role_of(module)
        given = args[0] if args and isinstance(args[0], Tensor) else None
        start = None if given is None else grad_node(given)
        if start is not None and start is node:  # it works in place: its input's node is now its own
            start = next((following for following, _ in node.next_functions if following is not None), None)
        fed_by, functional, behind = source(start, self._nodes)
        if role == "other" and (tensor is self._last or same_values(node, self._nodes)):
            tap.silent = True
        if functional is not None and given is not None and start is grad_node(given):
            fed_by = self._meet_feed(tap, module, given, functional, behind)
        tap.axis = self._axis(module, tensor, fed_by)
        tap.info = ModuleInfo(
            tap.name,
            kind_of(module),
            role,
            activation_of(module) or "",
            tensor.shape[tap.axis] if tensor.ndim > 1 else 1,
            fed_by,
            len(self.taps),
            has_bias(module),
        )
        if module is tap.root.module:
            tap.root.output = behind_logits(node, self._nodes) or (tap.name if not tap.silent else "")
        if not tap.silent:
            self.taps[tap.name] = tap

    def _meet_feed(self, tap: Tap, module: nn.Module, given: Tensor, functional: FunctionalActivation, behind: str) -> str:
        """An activation called as a function feeds this module: a tap of its own. Returns its name."""
        feed = Tap(f"{tap.name}.input", None, tap.root)
        node = follow(grad_node(given), functional.path)
        feed.axis = 1 if isinstance(module, CHANNELS_FIRST) and given.ndim > 2 else self._axis(None, given, behind)
        tensor = given if not functional.path else saved_result(node)
        units = 0 if tensor is None else tensor.shape[feed.axis] if tensor.ndim > 1 else 1
        kind = operation(node)
        feed.info = ModuleInfo(feed.name, kind, "activation", functional.key, units, behind, len(self.taps))
        self.taps[feed.name] = feed
        tap.feed = (functional.path, feed)
        return feed.name

    def _axis(self, module: nn.Module | None, tensor: Tensor, fed_by: str) -> int:
        """The axis of an output's units: by the module, else that of what feeds it, else channels of an image, else the last."""
        if isinstance(module, CHANNELS_FIRST) and tensor.ndim > 2:
            return 1
        if isinstance(module, UNITS_LAST) or tensor.ndim < 3:
            return -1
        feeder = self.taps.get(fed_by)
        if feeder is not None:
            return feeder.axis
        return 1 if tensor.ndim > 3 else -1
