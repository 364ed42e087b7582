"""`score`, `health`, `eval`: questions to a trained run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lettrine.cli.runs import RunFolder
from lettrine.cli.show import console, note, number, out_json, plain, table
from lettrine.cli.writing import Format, Writer, checked_format

if TYPE_CHECKING:
    from lettrine.inference.language_model import LanguageModel
    from lettrine.inference.scoring import Score, Scores
    from lettrine.training.run import Run

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto, reference or native.")]
Label = Annotated[str, typer.Option("--label", help="For a run with labels: judge under this label alone. Default: under all.")]
Threads = Annotated[int, typer.Option("--threads", help="Processor threads.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(epilog="Example: lettrine score my-run emma qwrtz, or: lettrine score my-run --file words.txt --format csv")(
        score
    )
    app.command(epilog="Example: lettrine health my-run, then open my-run/report.html")(health)
    app.command("eval", epilog="Example: lettrine eval my-run other-words.txt")(evaluate)


def score(
    run: RunFolder,
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD]...", help="Words to judge.")] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Judge the words of a file; - reads standard input. Prints one line for each word."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of a CSV or TSV: its name, or its number from 1.")] = None,
    label: Label = "",
    out: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Write the table FILE with columns of scores: .parquet, .csv, .tsv or .txt."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --out: the workers that judge; dask://host:8786, ray://host:10001, dask:// for processes here.",
        ),
    ] = None,
    format: Format = "text",  # noqa: A002 - the name of the option
    threads: Threads = 1,
    engine: EngineName = "auto",
    json: Json = False,
) -> None:
    """How likely the model finds each word, and which character surprised it most.

    A character that the run never saw counts as a uniform guess among all of Unicode; a remark says so.
    """
    from lettrine.training.folder import load_run  # noqa: PLC0415 - --help answers without numpy

    checked_format(format)
    words, file = _asked(words or [], file, out, on)
    if out is not None and file is not None:
        _into_table(load_run(run, engine=engine), file, out, column, label, threads, on, json=json)
        return
    model = load_run(run, engine=engine).model
    if file is not None:
        _of_file(model, run, file, column, label, threads, format, json=json)
    else:
        scores = model.score(words, label)
        if json:
            out_json({"run": run, "scores": list(map(_spelled, scores))})
        elif format == "text":
            _show(scores)
        else:
            Writer(format).rows(list(map(_row, scores)))
        if strange := "".join(dict.fromkeys(character for each in scores for character in each.unknown)):
            note(f"the run never saw {plain(' '.join(strange))}; such a character counts as a uniform guess among all of Unicode")


def _asked(words: list[str], file: str | None, out: str | None, on: str | None) -> tuple[list[str], str | None]:
    """Words, or a file. With --out, a single argument is the file. Raises ConfigError for both or neither."""
    from lettrine.errors import ConfigError  # noqa: PLC0415

    if out is not None and file is None and len(words) == 1:
        words, file = [], words[0]
    if bool(words) == (file is not None):
        raise ConfigError(
            f"score got {'both words and' if words else 'neither words nor'} --file; expected WORD... or --file FILE"
        )
    if on is not None and out is None:
        raise ConfigError("score got --on without --out; expected a table to write, such as --out scores.parquet")
    if out is not None and file is None:
        raise ConfigError(f"score got {len(words)} words with --out; expected one file of words")
    return words, file


def _of_file(
    model: LanguageModel, run: str, file: str, column: str | None, label: str, threads: int, chosen: str, *, json: bool
) -> None:
    """Print one line for each word on standard output."""
    from lettrine.text.words import read_words  # noqa: PLC0415

    read = read_words(file, column=column)
    for remark in read.notes:
        note(remark)
    portions = model.score_many(read.words, label, threads=threads)
    if json:
        out_json({"run": run, "scores": [row for some in portions for row in _rows(some)]})
        return
    odd = 0
    writer = Writer(chosen)
    for some in portions:
        odd += int((some.unknown > 0).sum())
        writer.rows(list(_rows(some)))
    if odd:
        note(f"{odd:,} of {len(read):,} words have characters that the run never saw, see the column unknown")


def _into_table(
    run: Run, file: str, out: str, column: str | None, label: str, threads: int, on: str | None, *, json: bool
) -> None:
    """Judge a whole table, from file to file, in constant memory."""
    from lettrine.tools.bulk import score_file  # noqa: PLC0415
    from lettrine.tools.clusters import pool_at  # noqa: PLC0415

    with contextlib.nullcontext() if on is None else pool_at(on) as pool:
        judge: Run | str = run if pool is None else str(run.path)
        rows, odd = score_file(judge, file, out, column=column, label=label, threads=threads, pool=pool)
    if json:
        out_json({"out": out, "rows": rows, "unknown": odd})
    else:
        note(f"{rows:,} rows in {out}")
    if odd:
        note(f"{odd:,} of {rows:,} words have characters that the run never saw, see the column unknown")


def _spelled(each: Score) -> dict[str, Any]:
    """One word for --json, with each of its characters."""
    place, character, probability = each.surprise
    return {
        "word": each.word,
        "log_likelihood": each.log_likelihood,
        "per_character": each.per_character,
        "perplexity": each.perplexity,
        "surprise": {"place": place, "character": character, "log_probability": probability},
        "unknown": list(each.unknown),
        **({"labels": dict(each.labels)} if each.labels else {}),
        "characters": [{"character": c, "log_probability": p} for c, p in each.characters],
    }


def _row(each: Score) -> dict[str, Any]:
    place, character, probability = each.surprise
    return {
        "word": each.word,
        "log_likelihood": round(each.log_likelihood, 4),
        "per_character": round(each.per_character, 4),
        "place": place,
        "character": character,
        "log_probability": round(probability, 4),
        "unknown": sum(each.word.count(c) for c in each.unknown),
    }


def _rows(some: Scores) -> Iterator[dict[str, Any]]:
    """The same for many words. The end of a word is an empty character."""
    columns = (
        some.log_likelihood.round(4),
        some.per_character.round(4),
        some.worst,
        some.worst_log_probability.round(4),
        some.unknown,
    )
    for word, likelihood, mean, place, worst, unknown in zip(some.words, *(each.tolist() for each in columns), strict=True):
        yield {
            "word": word,
            "log_likelihood": likelihood,
            "per_character": mean,
            "place": place,
            "character": word[place : place + 1],
            "log_probability": worst,
            "unknown": unknown,
        }


def _show(scores: Sequence[Score]) -> None:
    from rich.text import Text  # noqa: PLC0415

    shown = table("word", "log-likelihood", "per character", "perplexity", "most surprising")
    for each in scores:
        place, character, probability = each.surprise
        spelled = [plain(c) for c, _ in each.characters]
        marked = Text.assemble("".join(spelled[:place]), (plain(character), "bold red"), "".join(spelled[place + 1 :]))
        chance = "never seen" if character in each.unknown else f"p = {2.718281828459045**probability:.2g}"
        shown.add_row(
            plain(each.word),
            f"{number(each.log_likelihood, 2)} nats",
            f"{number(each.per_character, 3)} nats",
            number(each.perplexity, 2),
            marked + Text(f"  ({chance})"),
        )
    console().print(shown)


def health(
    run: RunFolder,
    save: Annotated[
        str | None, typer.Option(help="Also write the report to a file ending in .html, .json, .sarif or .txt.")
    ] = None,
    try_: Annotated[bool, typer.Option("--try", help="Try the remedies in short trainings, and say what each did.")] = False,
    json: Json = False,
) -> None:
    """Say how healthy a run was while it trained. Exit code 1: something is critical; 4: too little was seen to judge."""
    from lettrine.health.findings import report_path  # noqa: PLC0415

    place = None if save is None else report_path(save)  # before the trials, not after them
    if try_:
        from lettrine.training.trials import try_remedies  # noqa: PLC0415

        report, _ = try_remedies(run)
    else:
        from lettrine.training.diagnosis import load_health  # noqa: PLC0415

        report = load_health(run)
    if place is not None:
        report.save(place)
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
    label: Label = "",
    threads: Threads = 1,
    engine: EngineName = "auto",
    json: Json = False,
) -> None:
    """Loss on a word list, beside a random guess and counts of one, two and three characters."""
    from lettrine.errors import ConfigError, quote  # noqa: PLC0415
    from lettrine.inference.comparison import compare_with_counts  # noqa: PLC0415
    from lettrine.text.labels import sign_of  # noqa: PLC0415
    from lettrine.text.words import read_words  # noqa: PLC0415
    from lettrine.training.folder import load_run, load_splits  # noqa: PLC0415

    opened = load_run(run, engine=engine)
    splits = load_splits(opened)
    lists = {"dev": splits.dev, "test": splits.test}
    if words is not None:
        read = read_words(words, column=column, lower=lower)
        model = opened.model
        if model.labels and not label:
            listed = ", ".join(map(quote, model.labels))
            raise ConfigError(f"eval got words without labels for a run with labels; expected --label with one of {listed}")
        sign = sign_of(label, model.labels) if label else ""
        lists = {words: tuple([sign + word for word in read.words])}
        strange = set("".join(read.words)).difference(opened.model.vocabulary.characters)
        remarks = (
            [f"the run never saw {' '.join(sorted(strange)[:20])}; such a character costs every row the same"] if strange else []
        )
        for remark in (*read.notes, *remarks):
            note(remark)
    tables = {
        name: compare_with_counts(opened.model, splits.train, splits.dev, each, threads=threads) for name, each in lists.items()
    }
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
