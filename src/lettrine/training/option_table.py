"""The one description of every option of a training: how it is typed, what it means, where its value goes.

The command line makes its options from this table, and `options.choices` hands each value to the field named here. So every
option in the table takes effect, and an option outside of it does not exist. run.json holds the fields themselves: `Shape`,
`Settings` and `Optimiser` write and read every one of theirs.

Only names are imported here, so that `--help` needs no numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lettrine.activations import TRAINABLE, any_of

WORDS, NETWORK, TRAINING = "Words", "Network", "Training"  # panels of --help


@dataclass(frozen=True)
class Option:
    """One option.

    name: of the Python argument; typed as --name, with dashes. kind: type of what is typed. goes_to: "words" (what
    `word_list_of` reads), "shape", "settings" or "optimiser", and field: the name there. choices: all allowed values, from the
    module that defines them. default: the default as --help tells it. switch: how a bool is typed.
    """

    name: str
    kind: Any
    help: str
    panel: str
    goes_to: str
    field: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""
    switch: str = ""
    argument: bool = False

    @property
    def target(self) -> str:
        """Name of the field the value goes to."""
        return self.field or self.name

    @property
    def text(self) -> str:
        """The text in --help."""
        listed = f"{any_of(self.choices)}." if self.choices else ""
        return " ".join(filter(None, (self.help, listed, f"Default: {self.default}." if self.default else "")))


OPTIONS: Final = (
    Option(
        "words",
        list[str],
        "One word a line, UTF-8; - reads standard input. Several lists are learned side by side, each under its name as a label.",
        "",
        "words",
        default="first-names",
        argument=True,
    ),
    Option("corpus", str, "A shipped word list instead, see lettrine corpora.", WORDS, "words"),
    Option("top", int, "Only the most frequent words of the corpus.", WORDS, "words"),
    Option("column", str, "Column of a CSV or TSV: its name, or its number from 1.", WORDS, "words"),
    Option("labels", str, "Column of a CSV or TSV with a label of each word, for sample --label.", WORDS, "words"),
    Option("lower", bool, "Lower-case the words.", WORDS, "words", switch="--lower"),
    Option("unique", bool, "Drop repeated words.", WORDS, "words", switch="--unique"),
    Option("split_seed", int, "Of the split into train, dev and test.", WORDS, "settings", default="42"),
    Option("fractions", str, "Shares of train and dev; the rest is test.", WORDS, "settings", default="0.8,0.1"),
    Option(
        "model",
        str,
        "What is trained; counts alone take a second.",
        NETWORK,
        "settings",
        choices=("network", "counts"),
        default="network",
    ),
    Option(
        "prior",
        str,
        "What the network is mixed with; none leaves it alone.",
        NETWORK,
        "settings",
        choices=("counts", "none"),
        default="counts",
    ),
    Option("context", int, "Characters the network sees.", NETWORK, "shape", default="8"),
    Option("embedding", int, "Width of a character's vector.", NETWORK, "shape", default="by the words, 12 or 24"),
    Option("hidden", str, "Hidden widths: 200, 200x5 or 300,100.", NETWORK, "shape", default="by the words"),
    Option(
        "dropout",
        float,
        "Share of each hidden layer dropped in training.",
        NETWORK,
        "shape",
        default="by the words, 0.5 for few to 0 for many",
    ),
    Option("activation", str, "", NETWORK, "shape", choices=TRAINABLE, default="gelu"),
    Option("norm", str, "", NETWORK, "shape", choices=("none", "batch"), default="none"),
    Option(
        "direct",
        bool,
        "Direct connections from input to output.",
        NETWORK,
        "shape",
        default="no",
        switch="--direct/--no-direct",
    ),
    Option(
        "init",
        str,
        "",
        NETWORK,
        "settings",
        choices=("naive", "small-output", "small-hidden", "tiny", "kaiming", "deep", "calibrated"),
        default="kaiming",
    ),
    Option("optimizer", str, "", TRAINING, "optimiser", "kind", choices=("sgd", "adamw"), default="adamw"),
    Option(
        "lr", float, "Peak learning rate.", TRAINING, "settings", "learning_rate", default="about 0.01 for adamw, 0.1 for sgd"
    ),
    Option("schedule", str, "", TRAINING, "settings", choices=("constant", "step", "cosine", "one-cycle"), default="one-cycle"),
    Option("momentum", float, "Momentum of sgd.", TRAINING, "optimiser", default="0"),
    Option("weight_decay", float, "Decay of matrices.", TRAINING, "optimiser", default="by the steps for adamw, 0 for sgd"),
    Option(
        "l2",
        str,
        "L2 penalty: 1e-4 for all weights, or by group: hidden=1e-4,output=1e-5.",
        TRAINING,
        "optimiser",
        default="none",
    ),
    Option(
        "effort",
        str,
        "How much time is traded for loss.",
        TRAINING,
        "settings",
        choices=("quick", "default", "best"),
        default="default",
    ),
    Option("seconds", float, "Train as well as can be in so many seconds.", TRAINING, "settings"),
    Option("networks", int, "How many networks are trained and averaged.", TRAINING, "settings", default="by the words"),
    Option("batch", int, "Examples in a step.", TRAINING, "settings", default="by the words, 64 or 256"),
    Option("steps", int, "Optimiser steps.", TRAINING, "settings", default="by the words, 4 to 40 passes"),
    Option(
        "draw",
        str,
        "How batches are drawn: every example once in each epoch, or any at any time.",
        TRAINING,
        "settings",
        choices=("epochs", "replacement"),
        default="epochs",
    ),
    Option(
        "patience",
        int,
        "End after so many evaluations that were no better; 0 for never.",
        TRAINING,
        "settings",
        default="8, or 0 with --steps",
    ),
    Option("eval_every", int, "Steps between development losses.", TRAINING, "settings", default="a twentieth of all"),
    Option(
        "precise_norm",
        bool,
        "Batch norm: statistics of the whole training set at the end.",
        TRAINING,
        "settings",
        switch="--precise-norm",
    ),
    Option("seed", int, "Of initialisation and batches.", TRAINING, "settings", default="0"),
    Option("threads", int, "Processor threads.", TRAINING, "settings", default="1"),
    Option("engine", str, "", TRAINING, "settings", choices=("auto", "reference", "native", "torch"), default="auto"),
    Option("device", str, "Where the engine torch computes.", TRAINING, "settings", choices=("cpu", "cuda"), default="cpu"),
    Option(
        "health",
        bool,
        "Watch the network and say what is wrong with it.",
        TRAINING,
        "settings",
        default="yes",
        switch="--health/--no-health",
    ),
)
"""In the order of --help."""
