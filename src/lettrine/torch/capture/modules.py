"""Hooks on modules, which copy outputs and their gradients during one sampled step.

Modules have forward hooks only while a step is sampled. A hook on the autograd node that made an output takes its gradient. So an
activation that works in place cannot change it, and we change no gradient. Nothing here draws a random number, and nothing keeps
the user's tensors.

If a module is called several times in one step (shared, recurrent, gradient accumulation), its calls are measured together.

An output is copied at once, since the user may overwrite it. If no output of a step was overwritten, later steps can be measured
in place (`lettrine.torch.fast`) and are not copied any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lettrine.health.limits import BLANK_ROWS, BLANK_VALUES
from lettrine.health.trace import ModuleInfo
from lettrine.torch.capture.catalogue import called_first, named_modules
from lettrine.torch.capture.copies import Copy, dense, fetch, measurable
from lettrine.torch.capture.first_call import meet
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.keeping import LARGE
from lettrine.torch.capture.outputs import Hook, OutputCall, OutputCapture, Root, grad_node, main_tensor
from lettrine.torch.fast.hooks import OutputHooks, ReturnHook
from lettrine.torch.graph.reading import Node, activation_key, follow, saved_result
from lettrine.torch.private import recomputing, traced, transformed

_TRAINING, _USED = attrgetter("training"), attrgetter("used")


class ModuleProbe:
    """The modules of one model, which have hooks during sampled steps.

    model: already unwrapped.

    captures: of the modules called so far, by name, in the order of the first forward pass. batch_size: of the last call of the
    model. training: the share of modules in training mode at that call. input: what the model was given.
    remote: whether a tensor is on another device. wants_tail: whether `tail`, the node of the model's output, is wanted.
    logits: the name of the module that makes the logits, once the loss has shown it.
    """

    def __init__(self, model: nn.Module, guard: Guard) -> None:
        self._guard = guard
        self._standing: list[Any] = []  # the handles of the pre-hooks
        self._hooks: list[tuple[dict[int, Any], Any]] = []
        self._output_hooks: OutputHooks | None = None  # what the hooks have seen, without copies
        self._passing: list[Any] = []  # hooks on nodes of the graph
        self._stale: bool  # some hooks have to be replaced
        self._nodes: dict[Node, str] = {}  # which module made which tensor, in this step
        self._last: Tensor | None = None
        self._last_copy: Copy | None = None  # of that tensor, with its units along axis 1
        self._model = model
        self._modes = list(model.modules())
        self._begin_with(called_first(model))
        self.batch_size = 0
        self.training = float("nan")
        self._calls = 0
        self._told: tuple[int, str] = -1, ""
        self.input = Copy()
        self.input_heard = False
        self._inputs = 0  # how often the model was called in this step
        self.tail: dict[Node, str] = {}
        self.remote = False
        self.wants_tail = True
        self.logits = ""

    def _begin_with(self, roots: Sequence[nn.Module]) -> None:
        self._roots, self._stale = [Root(module) for module in roots], True
        inside = {module: root for root in reversed(self._roots) for module in root.module.modules()}
        named = named_modules(self._model)
        self._all = [OutputCapture(name, module, inside.get(module, self._roots[0])) for name, module in named]
        self.captures: dict[str, OutputCapture] = {}

    def enter(self, roots: Sequence[nn.Module]) -> None:
        """The user calls these modules, as the first step has shown. Every module is examined again."""
        self.remove()
        self.forget()
        self._begin_with(roots)

    def install(self, output_hooks: OutputHooks | None = None) -> None:
        """Begin a sampled step: put a hook on every module that is measured.

        output_hooks: the compiled hooks that measure outputs in place, None if outputs are copied.
        """
        stale = output_hooks is not self._output_hooks or (self._stale and output_hooks is None)
        if self._standing and not stale:
            return
        self.remove()
        if stale:
            self._output_hooks, self._stale = output_hooks, False
            called = [
                capture
                for capture in self._all
                if not capture.silent or (output_hooks is None and capture.module is capture.root.module)
            ]
            self._hooks = [self._hook_of(capture) for capture in called]
        for hooks, hook in self._hooks:
            hooks[id(hook)] = hook
        for root in self._roots:
            begin = partial(self._guard, self._begin, root)
            hook = Hook(begin) if output_hooks is None else output_hooks.call_hook(root, begin)
            self._standing.append(root.module.register_forward_pre_hook(hook, with_kwargs=True))

    def _hook_of(self, capture: OutputCapture) -> tuple[dict[int, Any], Any]:
        """A forward hook, and the place where it is while a step is sampled.

        This does the same as `register_forward_hook`, but without torch's handle, which takes longer than all the rest.
        """
        slow = partial(self._guard, self._forward, capture)
        hook: Any
        if capture.silent and capture.feed is None:
            hook = ReturnHook(capture.root, lambda: self.wants_tail, slow)
        elif self._output_hooks is not None:
            hook = self._output_hooks.hook(capture, slow)
        else:
            hook = Hook(slow)
        return capture.module._forward_hooks, hook  # type: ignore[union-attr]  # noqa: SLF001

    def remove(self) -> None:
        """Remove every hook."""
        for handle in self._standing:
            handle.remove()
        self._standing.clear()
        for hooks, hook in self._hooks:
            hooks.pop(id(hook), None)

    def forget(self) -> None:
        """Begin the next step, sampled or not."""
        for handle in self._passing:
            handle.remove()
        self._passing.clear()
        self._nodes.clear()
        self._last = self._last_copy = None
        for capture in self.captures.values():
            capture.forget()
        for root in self._roots:
            root.waiting = False
        self.input_heard = False
        self._inputs = 0

    def alike(self) -> list[OutputCapture] | None:
        """The modules called in this step, in order, if each was called once and its output was not overwritten."""
        called = self.called()
        alike = all(capture.used == 1 and capture.axis == -1 and capture.calls[0].whole for capture in called)
        return called if called and alike else None

    def input_finite(self) -> bool:
        """Whether the model's input in this step was finite, in the part that was read."""
        fetch([self.input])
        return bool(np.isfinite(self.input.array).all())

    def input_blank(self) -> bool:
        """Whether the only batch of this step was 0 throughout, in the part of it that was read with `input_finite`."""
        whole = self._inputs == 1 and self.batch_size >= BLANK_ROWS and self.input.array.size >= BLANK_VALUES
        return whole and not self.input.array.any()

    @property
    def calls(self) -> int:
        """The number of calls of modules seen so far."""
        return self._calls + (0 if self._output_hooks is None else self._output_hooks.live.heard)

    def called(self) -> list[OutputCapture]:
        """The captures that were called in this step, in the order of the first forward pass."""
        return [capture for capture in self.captures.values() if capture.used]

    def new_infos(self) -> list[ModuleInfo]:
        """The facts about each module called so far, if there are more than at the last call of this method. The module whose
        output the model returns has the role "output".
        """
        state = len(self.captures), "".join(root.output for root in self._roots)
        if state == self._told:
            return []
        self._told = state
        infos = [info for capture in self.captures.values() if (info := capture.told()) is not None]
        names = {root.output for root in self._roots if root.output} or {info.name for info in infos[-1:]}
        return [replace(info, role="output") if info.name in names else info for info in infos]

    def _aside(self) -> bool:
        """Whether this call is an evaluation, a repeated checkpointed block, or no call of the training."""
        if self._output_hooks is not None and traced():
            self._output_hooks.live.expected = False  # while the model is traced, tensors have no values
        return not torch.is_grad_enabled() or recomputing() or transformed()

    def _begin(self, root: Root, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The user calls the model."""
        if self._aside():
            return
        if self._output_hooks is not None and self._output_hooks.opens(root):
            self._given(args, kwargs)
            return
        if root.waiting and not root.complete:
            return  # the model calls itself
        discard = root.waiting or (any(map(_USED, self.captures.values())) and self._overflowed(root))
        if discard:  # no backward pass followed the last call: it was no training, or a GradScaler skipped the step
            for capture in self.captures.values():
                if capture.root is root:
                    capture.forget()
        if discard or not any(each.waiting for each in self._roots):
            self._nodes.clear()
        root.waiting, root.complete = True, self._output_hooks is not None  # no hook will do it
        self._given(args, kwargs)

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the arguments of the model, and the mode of its modules."""
        modes = list(map(_TRAINING, self._modes))
        self.training = sum(modes) / len(modes)
        given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if given is not None:
            self.batch_size = given.shape[0] if given.ndim else 1
            self._inputs += 1
            self.input_heard = measurable(given)
            if self.input_heard:
                self.input.take(given)

    def _overflowed(self, root: Root) -> bool:
        """Whether the calls of this step so far gave gradients that are not finite."""
        calls = [
            call
            for capture in self.captures.values()
            if capture.used and capture.root is root
            for call in capture.made
            if call.arrived
        ]
        fetch(call.gradient for call in calls)
        return not all(np.isfinite(call.gradient.array).all() for call in calls)

    def _forward(self, capture: OutputCapture, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A module was called."""
        if not torch.is_grad_enabled() or (capture.used and recomputing()) or transformed():
            return
        self._calls += 1
        tensor = main_tensor(output)
        if tensor is not None:
            node = grad_node(tensor)
            if capture.info is None:
                self._stale = True
                meet(capture, module, args, tensor, self._nodes, self.captures, passed=tensor is self._last)
            if capture.feed is not None:
                self._take_feed(capture.feed, args)
            if not capture.silent:
                if node is not None:
                    self._nodes.setdefault(node, capture.name)
                if capture.norm is not None and not capture.norm.called:
                    capture.norm.take(args, self._last_copy if args and args[0] is self._last else None)
                copy = self._take(capture, tensor, node)
                self._last_copy = copy if capture.axis == 1 or tensor.ndim == 2 else None
            self._last = tensor
        if module is capture.root.module:
            capture.root.complete = True
            if self.wants_tail:
                self.tail = {node: name for node, name in self._nodes.items() if name == capture.root.output}

    def _take(self, capture: OutputCapture, tensor: Tensor, node: Node | None) -> Copy | None:
        """Copy an output now. Returns the copy, or None if this call is left out."""
        call = capture.next_call()
        if call is None:
            if node is not None:  # it is copied only to know whether a backward pass comes
                self._passing.append(node.register_prehook(partial(self._guard, self._returned, capture.root)))
            return None
        call.output.take(tensor, capture.axis)
        self.remote = self.remote or not tensor.is_cpu
        if node is not None:
            if tensor.is_cpu and call.output.size <= LARGE and capture.plain:
                call.hold(tensor)
            call.place = tensor.output_nr
            self._passing.append(node.register_prehook(partial(self._guard, self._backward, call)))
        return call.output

    def _returned(self, root: Root, _: tuple[Tensor | None, ...]) -> None:
        root.waiting = False

    def _backward(self, call: OutputCall, gradients: tuple[Tensor | None, ...]) -> None:
        """The gradient of an output arrives."""
        call.capture.root.waiting = False
        call.release()
        given = gradients[call.place]
        gradient = dense(given)
        if gradient is not None:
            call.whole = call.whole and given is not None and not given.requires_grad
            call.gradient.take(gradient, call.capture.gradient_axis)
            call.arrived = True

    def _take_feed(self, feed: tuple[tuple[int, ...], OutputCapture], args: tuple[Any, ...]) -> None:
        path, capture = feed
        if args and isinstance(args[0], Tensor) and (node := follow(grad_node(args[0]), path)) is not None:
            if activation_key(node) is None or node in self._nodes:
                return
            tensor = saved_result(node) if path else args[0]
            if tensor is not None and measurable(tensor):
                self._nodes[node] = capture.name
                self._take(capture, tensor, node)
