"""How much information random latent variables carry: variables drawn around the output of an encoder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in

_DRAWS: Final = frozenset(("randn_like", "randn", "normal"))
_WIDEST: Final = 20.0  # no real log variance is larger


@reader
class Latents:
    """Evidence "latents": means and log variances that a model returns beside its output, and uses to draw noise.

    figures: kl_first, kl (at the first and the last look: divergence from a standard normal in nats per example, summed over the
    latent variables, mean over examples), size (latent variables), looks, step (of the last look).

    They are the last two tensors of one shape (B, Z) that the model returns, if it drew noise of that shape.
    """

    def __init__(self) -> None:
        self._found: list[tuple[int, float, int]] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compute the divergence."""
        if look.place:
            return ()
        drawn = {tuple(call.result.shape) for call in look.calls if call.name in _DRAWS and isinstance(call.result, Tensor)}
        for root in look.roots:
            pairs = [
                each for each in tensors_in(root.output) if each.ndim == 2 and each.requires_grad and tuple(each.shape) in drawn
            ]
            for mean, log_variance in pairwise(pairs):
                if mean.shape == log_variance.shape and float(log_variance.abs().max()) < _WIDEST:
                    spread = log_variance.detach().double()
                    kl = 0.5 * (mean.detach().double().square() + torch.exp(spread) - 1 - spread).sum(1)
                    self._found.append((look.step, float(kl.mean()), mean.shape[1]))
                    return ()
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The first and the last."""
        if len(self._found) > 1:
            (first, kl_first, size), (last, kl, _) = self._found[0], self._found[-1]
            figures = {
                "kl_first": kl_first,
                "kl": kl,
                "size": float(size),
                "looks": float(len(self._found)),
                "step": float(last),
            }
            yield Evidence("latents", (), (first, last), figures)
