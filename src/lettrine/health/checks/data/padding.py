"""Checks of padding: masked the wrong way round, used as a token, read at the end, or counted like real tokens."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Final

from lettrine.health import limits
from lettrine.health import limits_wiring as wiring
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import listed, number, share
from lettrine.health.checks.registry import check
from lettrine.health.checks.wiring.thrown_away import thrown_away
from lettrine.health.checks.words.capacity import at_rest
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_KEYS: Final = "key_padding_mask"
_REMEDY: Final = {
    _KEYS: "True means leave out, so key_padding_mask = (tokens == {token})",
    "attn_mask": "True means take part here, so attn_mask = (tokens != {token})[:, None, :]",
    "masked_fill": "True is what is filled, so scores.masked_fill((tokens == {token})[:, None, :], -inf)",
    "added mask": "0 is what is seen, so scores + (tokens == {token})[:, None, :] * -1e9",
}
_REFERENCE: Final = {
    _KEYS: "nn.MultiheadAttention, key_padding_mask",
    "attn_mask": "nn.functional.scaled_dot_product_attention, attn_mask",
    "masked_fill": "Tensor.masked_fill",
    "added mask": "nn.functional.scaled_dot_product_attention, attn_mask of floating-point numbers",
}


@check("padding-mask")
def padding_mask(trace: Trace) -> Iterator[Finding]:
    """A mask of an attention that is inverted, so that it sees only padding, or one that masks nothing, or everything, or queries
    in place of keys, or that is put on a copy which is thrown away; and a recurrent network that is read after the padding.

    Measured: Which tokens are masked, by key_padding_mask, attn_mask, masked_fill or a sum before a softmax; how many rows end in
    padding if a mask masks none, or if only the last step is used; which results of masks nothing takes.
    Formula: none: it masks every token but one, and that one fills the ends of the rows; rows that end in padding >=
        {PADDED_ROWS:.0%} and places of padding >= {PADDED_RUN:.0%}, at all looks; with the last step only if nothing is
        learned, or hardly anything ({HARDLY_LEARNED} of guessing) where {PADDED_MOST:.0%} of the places are padding.
    """
    yield from thrown_away(trace, "padding-mask")
    yield from _padded_ends(trace)
    yield from _nothing_masked(trace)
    yield from _cancelled(trace)
    yield from _blind(trace)
    wrong = [
        each for each in trace.seen("key padding") if each.figure("inverted") >= max(wiring.MASK_LOOKS, each.figure("looks") / 2)
    ]
    if not wrong:
        return
    names = tuple(name for each in wrong for name in each.where)
    token, mask = wrong[0].words["token"], wrong[0].words.get("mask", _KEYS)
    yield Finding(
        id="padding-mask",
        severity="critical",
        where=names,
        steps=wrong[0].steps,
        value=wrong[0].figure("masked"),
        limit=nan,
        message=f"The {mask} of {listed(names)} masks every token but {token}, which is the padding: "
        f"{share(wrong[0].figure('masked'))} of the places are masked, and attention sees only padding.",
        why="The real tokens never reach the output.",
        remedy=f"Invert the mask: {_REMEDY[mask].format(token=token)}.",
        reference=f"torch: {_REFERENCE[mask]}",
    )


def _nothing_masked(trace: Trace) -> Iterator[Finding]:
    """Masks that were given to the attention but mask no padding."""
    seen = [each for each in trace.seen("key padding") if each.figure("empty") == each.figure("looks") >= wiring.MASK_LOOKS]
    seen = [each for each in seen if each.figure("rows") >= wiring.PADDED_ROWS and each.figure("run") >= wiring.PADDED_RUN]
    if not seen:
        return
    names, token = tuple(name for each in seen for name in each.where), seen[0].words["token"]
    mask = seen[0].words.get("mask", _KEYS)
    yield Finding(
        id="padding-mask",
        severity="warning",
        where=names,
        steps=seen[0].steps,
        value=0.0,
        limit=seen[0].figure("run"),
        message=f"The {mask} of {listed(names)} masks nothing, while {share(seen[0].figure('run'))} of the places "
        f"are padding ({token}) at the ends of rows.",
        why="Every token attends to the padding too: the answer to a text depends on the longest text in its batch.",
        remedy=f"Make the mask from the tokens: {_REMEDY[mask].format(token=token)}.",
        reference=f"torch: {_REFERENCE[mask]}",
    )


def _cancelled(trace: Trace) -> Iterator[Finding]:
    """Masks of padding on the axis of the queries."""
    for seen in trace.seen("idle mask"):
        if seen.figure("looks") < wiring.MASK_LOOKS:
            continue
        mask, token = seen.words["mask"], seen.words["token"]
        yield Finding(
            id="padding-mask",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=seen.figure("run"),
            limit=0.0,
            message=f"The {mask} of {seen.where[0]} hides the padding ({token}) as queries, not as keys: it is the same for all "
            f"keys of a query, and the softmax cancels it. {share(seen.figure('rows'))} of the rows have padding.",
            why="Every token attends to the padding too: the answer to a text depends on the longest text in its batch.",
            remedy=f"Put the padding on the last axis of the scores: {_REMEDY[mask].format(token=token)}.",
            reference=f"torch: {_REFERENCE[mask]}",
        )


def _blind(trace: Trace) -> Iterator[Finding]:
    """Masks that hide everything."""
    for seen in trace.seen("blind mask"):
        if seen.figure("looks") < wiring.MASK_LOOKS:
            continue
        became = {
            "added": "the softmax cancels what is added to all scores alike, and nothing is hidden",
            "filled": "all places get the same weight, whatever they hold",
        }[seen.words["what"]]
        yield Finding(
            id="padding-mask",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=1.0,
            limit=1.0,
            message=f"The mask of {seen.where[0]} hides every place from every query, at all looks: {became}.",
            why="A mask that hides everything says nothing about which places are padding.",
            remedy="Make the mask from the tokens: mask = ids != padding, 1 or True for each token to be read; see that the "
            "loader does not give zeros.",
            reference="Vaswani et al. 2017, Attention is all you need, section 3.2.3",
        )


def _padded_ends(trace: Trace) -> Iterator[Finding]:
    for seen in trace.seen("padded end"):
        rows, run, course = seen.figure("rows"), seen.figure("run"), consequence(trace)
        padded = rows >= wiring.PADDED_ROWS and run >= wiring.PADDED_RUN and seen.figure("looks") >= wiring.MASK_LOOKS
        hardly = run >= wiring.PADDED_MOST and course.left >= limits.HARDLY_LEARNED
        if not padded or not (course.bad or hardly):
            continue
        token = int(seen.figure("token"))
        yield Finding(
            id="padding-mask",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=run,
            limit=wiring.PADDED_RUN,
            message=f"Only the last step of {seen.where[0]} is used, and {share(rows)} of the rows end in padding ({token}), "
            f"which fills {share(run)} of the places; {course.words}.",
            why="The state has to keep the text through all of the padding, and the gradient has to pass back through it.",
            remedy="Pack the rows, nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False), and use h_n; or pick the "
            "output at each row's last token: y[torch.arange(B), lengths - 1].",
            reference="torch.nn.utils.rnn.pack_padded_sequence",
        )


@check("padding-counted")
def padding_counted(trace: Trace) -> Iterator[Finding]:
    """Padding that counts like real tokens: in a mean over places, or among the targets of the loss.

    Measured: Rows that end in padding; whether the model averages over all places, or the loss covers all of them, and then
    the loss on real tokens beside that on padding.
    Formula: rows that end in padding >= {PADDED_ROWS:.0%}, and places of padding >= {PADDED_MOST:.0%} ({PADDED_RUN:.0%}: a
        remark); the loss on real tokens >= {HARDLY_LEARNED} * its guessing, or under a mean the whole loss at rest above
        {PLATEAU_HIGH} * guessing.
    """
    for seen in trace.seen("padding counted"):
        padded = seen.figure("rows") >= wiring.PADDED_ROWS and seen.figure("run") >= wiring.PADDED_RUN
        if padded and seen.figure("looks") >= wiring.MASK_LOOKS:
            yield _asked(seen) if seen.words["how"] == "asked" else _averaged(trace, seen)


def _averaged(trace: Trace, seen: Evidence) -> Finding:
    course, run, token = consequence(trace), seen.figure("run"), int(seen.figure("token"))
    rest, guess = at_rest(trace), course.reference
    words = (
        f"the loss stopped falling at {number(course.end, 3)} ({guess.words}: {number(guess.value, 3)})" if rest else course.words
    )
    return Finding(
        id="padding-counted",
        severity="warning" if (course.bad or rest) and run >= wiring.PADDED_MOST else "info",
        where=(),
        steps=seen.steps,
        value=run,
        limit=wiring.PADDED_MOST,
        message=f"The model averages over all {int(seen.figure('places'))} places, and {share(run)} of them are padding "
        f"({token}) at the ends of rows; {words}.",
        why="The shorter a row, the more of its mean is padding: the part of the real tokens shrinks, by another factor in each "
        "row.",
        remedy=f"Average over the real tokens: mask = (tokens != {token})[..., None]; (h * mask).sum(1) / mask.sum(1).",
        reference="Reimers & Gurevych 2019, Sentence-BERT: mean pooling with the attention mask",
    )


def _asked(seen: Evidence) -> Finding:
    run, token, label = seen.figure("run"), int(seen.figure("token")), int(seen.figure("class"))
    written, blank, guess = seen.figure("written"), seen.figure("padding"), seen.figure("guess")
    hardly = written >= limits.HARDLY_LEARNED * guess and blank < written
    return Finding(
        id="padding-counted",
        severity="warning" if hardly and run >= wiring.PADDED_MOST else "info",
        where=(),
        steps=seen.steps,
        value=written,
        limit=limits.HARDLY_LEARNED * guess,
        message=f"{share(run)} of the targets are padding ({token}, class {label}): there the loss is "
        f"{number(blank, 3)}, on real tokens {number(written, 3)}, and guessing gives {number(guess, 3)}.",
        why="The mean is small because padding is easy, and most of each gradient is about padding.",
        remedy=f"Leave padding out of the loss: cross_entropy(..., ignore_index={label}), with a class for padding that no token "
        "has (-100 is ignored anyway).",
        reference="torch.nn.CrossEntropyLoss: ignore_index",
    )


@check("padding-index")
def padding_index(trace: Trace) -> Iterator[Finding]:
    """An index that is kept for padding and used as a token.

    Measured: How often the index that an embedding keeps for padding occurs, and whether it stands alone between two other
        tokens.
    Formula: share = (indices equal to padding_idx) / (all indices); inside = (those with another token on both sides) /
        (those equal to padding_idx).
    """
    for each in trace.seen("padding-index"):
        used = each.figure("share") >= limits.PADDING_SHARE and each.figure("inside") >= limits.PADDING_INSIDE
        fixed = each.figure("fixed") == 1 and limits.PADDING_FIXED <= each.figure("share") <= 1 - limits.PADDING_FIXED
        if not ((used or fixed) and each.figure("looks") >= limits.UPDATE_RECORDS):
            continue
        index, name = int(each.figure("index")), each.where[0]
        how = (
            f"in {share(each.figure('inside'))} of the cases it stands alone between two others, as a token does"
            if used
            else "it is at the same places in every row, unlike the padding of rows of different lengths"
        )
        asked = " and it is also a target class of the loss" if each.figure("targets") else ""
        yield Finding(
            id="padding-index",
            severity="warning",
            where=each.where,
            steps=each.steps,
            value=each.figure("inside"),
            limit=limits.PADDING_INSIDE,
            message=(
                f"{name} keeps index {index} for padding, but {share(each.figure('share'))} of its inputs are {index}: "
                f"{how}{asked}."
            ),
            why="The row of padding_idx gets no gradient: that token keeps its initial vector, usually all zeros.",
            remedy=f"Leave out padding_idx={index}, or give padding its own index that no token has.",
            reference="torch.nn.Embedding: padding_idx",
        )
