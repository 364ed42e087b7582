"""Does calibration put right what an initialisation got wrong? Final development losses, means of several seeds.

    python benchmarks/bench_calibrate.py [WORDS] [--seeds 3] [--steps 20000] [--json]

Each net is trained as the published ones are: plain SGD, batches of 32, learning rate 0.1, a tenth of it from half-way on, last
weights. The same bad weights are trained as they are and after `calibrated`, beside the principled initialisation. Exit code 1
if a calibrated net ends more than TOLERANCE above it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace

from lettrine.engine.base import Optimiser
from lettrine.model.initialisation import NAIVE, SCHEMES, Initialisation
from lettrine.training.api import Shape, as_word_list, train
from lettrine.training.settings import Settings

TOLERANCE = 0.02  # nats

ONE = Shape(context=3, embedding=10, hidden=(200,), activation="tanh", norm="none", direct=False)
DEEP = replace(ONE, hidden=(100,) * 5)
NO_FAN_IN = Initialisation(hidden=5 / 3, hidden_fan_in=False, output=0.1, output_fan_in=False)

NETS = {
    "one hidden layer": (ONE, {"kaiming": SCHEMES["kaiming"], "naive": NAIVE}),
    "five hidden layers": (
        DEEP,
        {"kaiming": SCHEMES["deep"], "no fan-in": NO_FAN_IN, "gain 3": Initialisation(hidden=3.0, output=0.1)},
    ),
}


def losses(words: str | None, shape: Shape, init: Initialisation, steps: int, seeds: int) -> list[float]:
    """Final development loss of each seed."""
    word_list = as_word_list(words)
    found = []
    for seed in range(seeds):
        settings = Settings(
            steps=steps,
            batch=32,
            learning_rate=0.1,
            schedule="step",
            optimiser=Optimiser("sgd"),
            init=init,
            seed=seed,
            keep="last",
            health=False,
        )
        run = train(word_list, shape=shape, settings=settings)
        if run.results is not None:
            found.append(run.results.loss["dev"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows, good = [], True
    for net, (shape, inits) in NETS.items():
        aim = float("nan")
        for name, init in inits.items():
            ways = {"as it is": init} if name == "kaiming" else {"as it is": init, "calibrated": replace(init, calibrated=True)}
            for way, scheme in ways.items():
                each = losses(asked.words, shape, scheme, asked.steps, asked.seeds)
                mean = statistics.fmean(each)
                aim = mean if name == "kaiming" else aim
                good = good and (way != "calibrated" or mean <= aim + TOLERANCE)
                rows.append({"net": net, "init": name, "way": way, "dev": mean, "above kaiming": mean - aim, "seeds": each})
                if not asked.json:
                    print(f"{net:<20} {name:<10} {way:<11} dev {mean:.4f}  {mean - aim:+.4f}", flush=True)
    if asked.json:
        print(json.dumps({"steps": asked.steps, "seeds": asked.seeds, "rows": rows, "within": good}))
    else:
        print(f"calibrated nets end within {TOLERANCE} nats of kaiming: {'yes' if good else 'no'}")
    return not good


if __name__ == "__main__":
    sys.exit(main())
