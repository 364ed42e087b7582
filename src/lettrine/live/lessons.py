"""Lessons on the live page: each breaks one thing, shows where to look, and cures it. After makemore part 3 (Karpathy 2022)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Part:
    """One step of a lesson. says: what to do, or where to look. button: its label, "" for none; it asks for `what` with `values`,
    as the page does, and then trains.
    """

    says: str
    button: str = ""
    what: str = ""
    values: dict[str, Any] | None = None


@dataclass(frozen=True)
class Lesson:
    """A title and its steps."""

    title: str
    parts: tuple[Part, ...]


_TANH: Final = {"activation": "tanh", "context": "3", "embedding": "10", "optimizer": "sgd", "lr": "0.1", "schedule": "constant"}
_ONE: Final = {**_TANH, "hidden": "200", "batch": "32"}
_DEEP: Final = {**_TANH, "hidden": "100x5", "batch": "32"}


def _begin(says: str, button: str, options: dict[str, Any]) -> Part:
    return Part(says, button, "begin", options)


LESSONS: Final = {
    "start": Lesson(
        "What a network knows before it has learned",
        (
            Part(
                "A network that knows nothing should give each character the same chance. Its loss is then ln V: the dashed line."
            ),
            _begin("Draw every weight from N(0, 1).", "Start naively", {**_ONE, "init": "naive"}),
            Part(
                "Look at the loss: it starts far above the line. The network is confidently wrong, and first has to unlearn that."
            ),
            _begin("Make the last layer small.", "Small output weights", {**_ONE, "init": "small-output"}),
            Part("The loss now starts on the line. The dashed curve is the start before."),
        ),
    ),
    "saturation": Lesson(
        "Saturation",
        (
            _begin("The last layer is small, the hidden one is not.", "Large hidden weights", {**_ONE, "init": "small-output"}),
            Part("Look at the activations: they lie at -1 and 1, where tanh is flat. In the map, white units pass no gradient."),
            _begin("Divide the weights by sqrt(fan-in), times the gain 5/3.", "Kaiming's start", {**_ONE, "init": "kaiming"}),
            Part("The heap at the ends is gone. Compare the gradients: they are wider now."),
        ),
    ),
    "gain": Lesson(
        "The gain",
        (
            _begin(
                "Five layers without an activation, gain 5/3.", "Too large", {**_DEEP, "activation": "identity", "init": "deep"}
            ),
            Part("Look at the scale on the way forward: every layer makes the signal larger."),
            _begin("The same with tanh.", "With tanh", {**_DEEP, "init": "deep"}),
            Part("Tanh makes the signal smaller each time, and 5/3 makes up for it: the rows look alike."),
        ),
    ),
    "depth": Lesson(
        "Depth",
        (
            _begin("Five layers, all weights tiny.", "Tiny weights", {**_DEEP, "init": "tiny"}),
            Part(
                "Look at the scale on the way back: the gradients of the first layers are almost nothing. The loss hardly moves."
            ),
            _begin("Weights that keep the scale.", "Kaiming's start", {**_DEEP, "init": "kaiming"}),
            Part("All layers get gradients of a like size, and the loss falls from the first step."),
        ),
    ),
    "batch-norm": Lesson(
        "Batch norm",
        (
            _begin("Tiny weights again, now with batch norm.", "Batch norm", {**_DEEP, "init": "tiny", "norm": "batch"}),
            Part("The scale of the start hardly matters any more: each layer is brought back to spread 1 at every step."),
            Part("Look at the running mean and variance: they follow the batch's, and are used once there is no batch."),
        ),
    ),
    "learning-rate": Lesson(
        "The learning rate",
        (
            _begin("A healthy start.", "Start", {**_ONE, "init": "kaiming"}),
            Part("Look at the size of the updates: about 1/1000 of the weights is healthy."),
            Part("Now far too slow.", "Divide the rate by 1,000", "plant", {"fault": "rate too low"}),
            Part("The lines of the updates fall, and the loss stands still. Move the slider until they come back to 1/1000."),
            Part("And far too fast.", "Multiply the rate by 100", "plant", {"fault": "rate too high"}),
            Part("The loss jumps. Read the finding, and apply its remedy."),
        ),
    ),
}
"""By the name in the address of the page, /lesson/NAME."""


def lessons_told() -> dict[str, Any]:
    """All of them as the page wants them."""
    return {name: asdict(lesson) for name, lesson in LESSONS.items()}
