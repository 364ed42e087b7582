"""`sample`: new words from a trained run, under any wish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lettrine.cli.runs import RunFolder
from lettrine.cli.show import note, out_json
from lettrine.cli.writing import Format, Writer, checked_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lettrine.inference.language_model import LanguageModel

SPELLING, LIST, DRAW, OUTPUT = "How words are spelled", "Beside the training list", "How they are drawn", "What is printed"
SORTS = ("drawn", "score", "word")


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(epilog="Example: lettrine sample my-run -n 20 --new --suffix a --max-length 6 --sort score")(sample)


def sample(
    run: RunFolder,
    count: Annotated[int, typer.Option("-n", "--count", help="How many words.")] = 10,
    prefix: Annotated[str, typer.Option(help="What every word begins with.", rich_help_panel=SPELLING)] = "",
    suffix: Annotated[str, typer.Option(help="What every word ends with.", rich_help_panel=SPELLING)] = "",
    contains: Annotated[
        list[str] | None, typer.Option(help="What every word has inside; may be given several times.", rich_help_panel=SPELLING)
    ] = None,
    without: Annotated[str, typer.Option(help="Characters that no word has.", rich_help_panel=SPELLING)] = "",
    match: Annotated[
        str,
        typer.Option(help=r"A pattern of the whole word: . \[a-z] \d (a|b) * + ? {2,5}.", rich_help_panel=SPELLING),
    ] = "",
    like: Annotated[str, typer.Option(help="A word that every word is close to.", rich_help_panel=SPELLING)] = "",
    near: Annotated[int, typer.Option(help="How many edits --like allows.", rich_help_panel=SPELLING)] = 2,
    min_length: Annotated[
        int, typer.Option(help="Characters at least; 0 also draws the empty word.", rich_help_panel=SPELLING)
    ] = 1,
    max_length: Annotated[
        int | None,
        typer.Option(
            help="Characters at most: longer words are not cut, they are left out. Default: less than twice the longest word.",
            rich_help_panel=SPELLING,
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Leave out words of the training list.", rich_help_panel=LIST)] = False,
    not_near: Annotated[
        int, typer.Option(help="Leave out words at most so many edits away from one of the training list.", rich_help_panel=LIST)
    ] = 0,
    unique: Annotated[bool, typer.Option("--unique", help="No word twice.", rich_help_panel=LIST)] = False,
    label: Annotated[
        str, typer.Option(help="For a run with labels: one, or several with shares, such as women=2,men=1.", rich_help_panel=LIST)
    ] = "",
    temperature: Annotated[
        float,
        typer.Option(help="Below 1: likelier words; above 1: stranger ones; 0: the likeliest.", rich_help_panel=DRAW),
    ] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw only from the k likeliest characters; 0 for all.", rich_help_panel=DRAW)] = 0,
    top_p: Annotated[
        float,
        typer.Option(help="Draw only from the fewest characters that reach this probability.", rich_help_panel=DRAW),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.", rich_help_panel=DRAW)] = 0,
    sort: Annotated[
        str, typer.Option(help="drawn (as they come), score (the likeliest first) or word.", rich_help_panel=OUTPUT)
    ] = "drawn",
    scores: Annotated[
        bool,
        typer.Option("--scores", help="Also print how likely each word is, in nats, at temperature 1.", rich_help_panel=OUTPUT),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Write the words to a file: .parquet, .csv, .tsv or .txt.", rich_help_panel=OUTPUT),
    ] = None,
    format: Format = "text",  # noqa: A002 - the name of the option
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; the words are the same.")] = 1,
    engine: Annotated[str, typer.Option("--engine", help="auto, reference or native.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Draw new words from a trained run, one per line. Wishes rule words out; the others keep their odds."""
    from lettrine.errors import ConfigError  # noqa: PLC0415 - --help answers without numpy
    from lettrine.training.folder import load_run  # noqa: PLC0415

    checked_format(format)
    if sort not in SORTS:
        raise ConfigError(f"sort got {sort!r}; expected one of {', '.join(SORTS)}")
    how: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "prefix": prefix,
        "suffix": suffix,
        "contains": tuple(contains or ()),
        "without": without,
        "match": match,
        "like": like,
        "near": near,
        "min_length": min_length,
        "new": new,
        "not_near": not_near,
        "unique": unique,
        "label": label,
        "seed": seed,
        "threads": threads,
    }
    if max_length is not None:
        how["max_length"] = max_length
    opened = load_run(run, engine=engine)
    portions = opened.stream(count, **how)
    if json or sort != "drawn":
        words = [word for some in portions for word in some]
        portions = iter([_sorted(opened.model, words, sort)])
    total = 0
    if out is not None:
        from lettrine.tools.bulk import write_words  # noqa: PLC0415

        total = write_words(portions, out, opened.model if scores else None)
        note(f"{total:,} words in {out}")
    elif json:
        words = next(portions)
        total = len(words)
        rows = {"scores": _rows(opened.model, words)} if scores else {}
        out_json({"run": run, "seed": seed, "words": words, **rows})
    else:
        writer = Writer(format)
        for some in portions:
            total += len(some)
            if scores:
                writer.rows(_rows(opened.model, some))
            else:
                writer.words(some)
    if total < count:
        note(
            f"found {total} such words, not {count}: the model hardly writes others; ask for less, or try a higher --temperature"
        )


def _sorted(model: LanguageModel, words: list[str], sort: str) -> list[str]:
    if sort == "word":
        return sorted(words)
    if sort == "score":
        likelihood = [x for some in model.score_many(words) for x in some.log_likelihood.tolist()]
        return [words[i] for i in sorted(range(len(words)), key=lambda i: -likelihood[i])]
    return words


def _rows(model: LanguageModel, words: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"word": word, "log_likelihood": round(total, 4), "per_character": round(mean, 4)}
        for some in model.score_many(words)
        for word, total, mean in zip(some.words, some.log_likelihood.tolist(), some.per_character.tolist(), strict=True)
    ]
