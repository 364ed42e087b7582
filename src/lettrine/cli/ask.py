"""`sample`, `score`, `eval`: what one asks of a trained run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lettrine.cli.show import console, note, number, out_json, plain, table

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, as lettrine train wrote it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto, reference or native.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(epilog="Example: lettrine sample my-run -n 20 --temperature 0.8 --prefix ma --new")(sample)
    app.command(epilog="Example: lettrine score my-run emma qwrtz")(score)
    app.command(epilog="Example: lettrine health my-run, then open my-run/report.html")(health)
    app.command("eval", epilog="Example: lettrine eval my-run other-words.txt")(evaluate)


def sample(
    run: RunFolder,
    count: Annotated[int, typer.Option("-n", "--count", help="How many words.")] = 10,
    temperature: Annotated[
        float, typer.Option(help="Below 1 keeps to the likely, above 1 wanders, 0 takes the likeliest.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(help="Choose among the k likeliest characters only; 0 for all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Choose among the fewest characters that reach this probability.")] = 1.0,
    prefix: Annotated[str, typer.Option(help="What every word begins with.")] = "",
    max_length: Annotated[
        int | None, typer.Option(help="Characters after which a word is cut. Default: twice the longest word.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Leave out words of the training list.")] = False,
    unique: Annotated[bool, typer.Option("--unique", help="No word twice.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed, other words.")] = 0,
    engine: EngineName = "auto",
    json: Json = False,
) -> None:
    """Draw new words from a trained run, one a line."""
    from lettrine.training.folder import load_run  # noqa: PLC0415 - --help answers without numpy

    opened = load_run(run, engine=engine)
    length = {} if max_length is None else {"max_length": max_length}
    words = opened.sample(
        count,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        prefix=prefix,
        new=new,
        unique=unique,
        seed=seed,
        **length,
    )
    if json:
        out_json({"run": run, "seed": seed, "words": words})
    else:
        sys.stdout.write("".join(f"{plain(word)}\n" for word in words))
    if len(words) < count:
        note(f"found {len(words)} such words, not {count}: the model hardly writes others; try a higher --temperature")


def score(
    run: RunFolder,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="Words to judge.")],
    engine: EngineName = "auto",
    json: Json = False,
) -> None:
    """How likely the model finds each word, and which character surprised it most."""
    from lettrine.training.folder import load_run  # noqa: PLC0415

    scores = load_run(run, engine=engine).model.score(words)
    if json:
        rows = [
            {
                "word": each.word,
                "log_likelihood": each.log_likelihood,
                "per_character": each.per_character,
                "perplexity": each.perplexity,
                "surprise": {"place": each.surprise[0], "character": each.surprise[1], "log_probability": each.surprise[2]},
                "characters": [{"character": c, "log_probability": p} for c, p in each.characters],
            }
            for each in scores
        ]
        out_json({"run": run, "scores": rows})
        return
    from rich.text import Text  # noqa: PLC0415

    shown = table("word", "log-likelihood", "per character", "perplexity", "most surprising")
    for each in scores:
        place, character, probability = each.surprise
        spelled = [plain(c) for c, _ in each.characters]
        marked = Text.assemble("".join(spelled[:place]), (plain(character), "bold red"), "".join(spelled[place + 1 :]))
        shown.add_row(
            plain(each.word),
            f"{number(each.log_likelihood, 2)} nats",
            f"{number(each.per_character, 3)} nats",
            number(each.perplexity, 2),
            marked + Text(f"  (p = {2.718281828459045**probability:.2g})"),
        )
    console().print(shown)


def health(
    run: RunFolder,
    save: Annotated[
        str | None, typer.Option(help="Also write the report to a file ending in .html, .json, .sarif or .txt.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what was healthy and what was not while a run trained; exit code 1 if something is critical."""
    from lettrine.training.diagnosis import load_health  # noqa: PLC0415

    report = load_health(run)
    if save is not None:
        report.save(save)
    if json:
        out_json({"run": run, **report.to_dict()})
    else:
        from lettrine.report import report_rich  # noqa: PLC0415

        console().print(report_rich(report))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def evaluate(
    run: RunFolder,
    words: Annotated[
        str | None, typer.Argument(metavar="WORDS", help="A word list. Default: the run's own dev and test splits.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of a CSV or TSV: its name, or its number from 1.")] = None,
    lower: Annotated[bool, typer.Option("--lower", help="Lower-case the words.")] = False,
    engine: EngineName = "auto",
    json: Json = False,
) -> None:
    """Loss on a word list, beside guessing at random and counting one, two and three characters."""
    from lettrine.inference.comparison import compare_with_counts  # noqa: PLC0415
    from lettrine.text.words import read_words  # noqa: PLC0415
    from lettrine.training.folder import load_run, load_splits  # noqa: PLC0415

    opened = load_run(run, engine=engine)
    splits = load_splits(opened)
    lists = (
        {"dev": splits.dev, "test": splits.test}
        if words is None
        else {words: read_words(words, column=column, lower=lower).words}
    )
    tables = {name: compare_with_counts(opened.model, splits.train, splits.dev, each) for name, each in lists.items()}
    if json:
        rows = {
            name: {who: {"nats": x.nats, "bits_per_character": x.bits, "perplexity": x.perplexity} for who, x in losses.items()}
            for name, losses in tables.items()
        }
        out_json({"run": run, "losses": rows})
        return
    for name, losses in tables.items():
        shown = table("", "nats", "bits per character", "perplexity", title=f"loss on {plain(name)}")
        for who, loss in losses.items():
            style = "bold" if who == "model" else ""
            shown.add_row(who, number(loss.nats), number(loss.bits), number(loss.perplexity, 2), style=style)
        console().print(shown)
