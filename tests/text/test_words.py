"""Reading, cleaning and splitting word lists."""

from __future__ import annotations

import hashlib
import io
import random
import sys
import unicodedata
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lettrine.errors import ArgumentError, ConfigError, LettrineError, WordListError
from lettrine.text import words as words_module
from lettrine.text.files import BLOCK_BYTES
from lettrine.text.words import MAX_MARKS, MAX_WORD, from_words, read_words, split

CONTROLS = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Cc", "Cs")]


@pytest.fixture
def written(tmp_path):
    """Write bytes (or text as UTF-8) to a file and hand back its path."""

    def write(content, name="words.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def piped(monkeypatch):
    """Put bytes on standard input."""

    def pipe(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return pipe


def message_of(call, *arguments, **options):
    """The one line a call fails with."""
    with pytest.raises(WordListError) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), "an error message is one line without control characters"
    return text


def tried(call, *arguments, **options):
    """The words a call gives; none where it fails with one clear line."""
    try:
        return call(*arguments, **options).words
    except WordListError as error:
        text = str(error)
    assert text.isprintable()
    return ()


@pytest.mark.parametrize(
    "content", [b"anna\nbob\n", b"anna\nbob", b"\xef\xbb\xbfanna\r\nbob\r\n", b"anna\rbob\r", b"\n anna\t\n\n\x0cbob \n"]
)
def test_line_ends_byte_order_marks_and_white_space_do_not_matter(written, content):
    assert read_words(written(content)).words == ("anna", "bob")


def test_blank_and_repeated_words_are_counted_and_kept_or_dropped(written):
    path = written("bob\n\n  \nanna\nbob\nbob\n")
    kept, dropped = read_words(path), read_words(path, unique=True)
    assert (kept.words, kept.blank, kept.repeated) == (("bob", "anna", "bob", "bob"), 2, 2)
    assert (dropped.words, dropped.blank, dropped.repeated) == (("bob", "anna"), 2, 2)


def test_accents_are_composed_and_case_is_kept_unless_asked(written):
    path = written("He\u0301le\u0300ne\nHÉLÈNE\nΦΩΣ")
    assert read_words(path).words == ("Hélène", "HÉLÈNE", "ΦΩΣ")
    assert read_words(path, lower=True, unique=True).words == ("hélène", "φως")  # the last sigma takes its final form


def test_inner_spaces_and_any_script_are_part_of_a_word():
    given_words = ["van der Berg", "l'Été", "Jean-Luc", "محمد", "می‌خواهم", "नमस्ते", "👩‍👩‍👧", "漢字", "ﬁn", "x²"]
    assert list(from_words(given_words)) == given_words


def test_a_mark_left_where_files_were_joined_is_dropped(written):
    assert read_words(written(b"\xef\xbb\xbfanna\n\xef\xbb\xbfbob\n")).words == ("anna", "bob")


def test_digest_is_of_the_words_alone(written):
    expected = hashlib.sha256("anna\nhélène".encode()).hexdigest()
    assert read_words(written("anna\r\n\r\nhélène\r\n")).digest == from_words(["anna", "hélène"]).digest == expected


def test_standard_input(piped):
    piped(b"anna\nbob\n")
    read = read_words("-")
    assert (read.words, read.source) == (("anna", "bob"), "standard input")
    piped(b"")
    assert message_of(read_words, "-").startswith("standard input is empty")


def test_blocks_join_without_a_seam(written, monkeypatch):
    content = "é\r\nbob\r\n\r\nanna\rx\n" * 50
    whole = read_words(written(content))
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr("lettrine.text.files.BLOCK_BYTES", size)
        assert read_words(written(content)) == whole
    assert whole.words == ("é", "bob", "anna", "x") * 50
    assert whole.blank == 50


def test_line_numbers_count_across_blocks(written, monkeypatch):
    path = written(b"anna\r\nbob\rcarl\n\nh\xe9l\n")
    for size in (BLOCK_BYTES, 5):
        monkeypatch.setattr("lettrine.text.files.BLOCK_BYTES", size)
        assert "on line 5; it may be cp1252: convert it with iconv -f cp1252" in message_of(read_words, path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n \n\t\r\n", "holds only blank lines (3)"),
        ("anna\nbob".encode("utf-16"), "it may be utf-16:"),
        ("anna\nbob".encode("utf-16-le"), "it may be utf-16-le:"),
        ("anna\nbob".encode("utf-16-be"), "it may be utf-16-be:"),
        ("anna\nbob".encode("utf-32"), "it may be utf-32:"),
        (b"anna\n\x81\xe9", "on line 2; it may be latin-1:"),
        (b"anna\nbo\0b\n", "not a text file (line 2 holds binary data)"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file (line 3 holds binary data)"),
        (b"PK\x03\x04\x14\0\x06\0\x08\0", "not a text file"),
        (b"anna\n\n\x1b[31mred\n", "the control character U+001B on line 3"),
        ("a\u2028b".encode(), "the control character U+2028 on line 1"),
        (b"a\nb\tc\n", "a tab inside line 2; choose a column"),
        (b"x" * (MAX_WORD + 1), "1,000,001 characters on line 1"),
        (b"x" * (3 * BLOCK_BYTES), "a line of more than"),
        (("ok\na" + "\u0300\u0316" * MAX_MARKS).encode(), "more than 100 combining marks in a row on line 2"),
    ],
)
def test_bad_content_is_named(written, content, expected):
    message = message_of(read_words, written(content))
    assert expected in message
    assert "words.txt" in message


def test_bad_paths_are_named(tmp_path):
    assert "there is no file" in message_of(read_words, tmp_path / "none\x1b[31m\n.txt")
    assert "is a folder" in message_of(read_words, tmp_path)
    for impossible in ("a\0b", "a" * 300, "a/" * 3000, "a\ud800"):
        with pytest.raises(ArgumentError, match="expected a name a file can have"):
            read_words(impossible)


def test_no_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "no standard input" in message_of(read_words, "-")


@pytest.mark.parametrize("character", [CONTROLS[0], "\n", "\r", "\t", "\x1b", "\x7f", "\x9b", "\ud800", "\u2029"])
def test_control_characters_inside_words_are_refused(character):
    assert "word 2" in message_of(from_words, ["anna", f"a{character}b"])


@given(st.lists(st.text(st.sampled_from(CONTROLS + list("aé")), max_size=5), min_size=1))
def test_no_control_character_comes_through(given_words):
    assert not any(c in CONTROLS for word in tried(from_words, given_words) for c in word)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_words_or_one_clear_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    for column in (None, 1, "a"):
        words = tried(read_words, path, column=column)
        assert all(word == word.strip() != "" and unicodedata.is_normalized("NFC", word) for word in words)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1), min_size=1), st.booleans())
def test_a_file_and_memory_give_the_same_words(tmp_path_factory, given_words, lower):
    path = tmp_path_factory.getbasetemp() / "same.txt"
    path.write_text("\n".join(given_words), encoding="utf-8", newline="\n")
    marks_kept = [word.replace("\ufeff", "") for word in given_words]  # only a file can have byte order marks
    try:
        expected = from_words(marks_kept, lower=lower).words
    except WordListError:
        assert not any(word.strip() for word in marks_kept)
    else:
        assert read_words(path, lower=lower).words == expected


def test_from_words_takes_the_lines_of_an_open_file_and_refuses_what_is_no_list():
    assert from_words(io.StringIO("anna\nbob\n")).words == ("anna", "bob")
    for wrong in ("anna", 3):
        with pytest.raises(ArgumentError, match="expected a list of strings"):
            from_words(wrong)
    assert "word 2 of 'memory' is of type int" in message_of(from_words, ["anna", 3])
    assert "is empty" in message_of(from_words, [])
    assert "word 150001 of" in message_of(from_words, ["anna"] * 150_000 + [None])
    assert "on word 150001" in message_of(from_words, ["anna"] * 150_000 + ["a\x1bb"])


def test_endless_input_is_refused(monkeypatch):
    monkeypatch.setattr(words_module, "MAX_WORDS", 200_000)
    assert "more than 200,000 words; train on a part" in message_of(from_words, repeat("anna"))
    assert "more than 200,000 words; train on a part" in message_of(from_words, repeat(""))
    monkeypatch.setattr(words_module, "MAX_CHARACTERS", 300_000)
    assert "more than 300,000 characters" in message_of(from_words, repeat("anna"))


def test_long_words_of_many_marks_are_allowed():
    long = "ab" * 5000
    assert from_words([long, "กิ" * 5000, "a" + "\u0316" * MAX_MARKS]).words[0] == long


def test_repr_shows_a_few_words_and_no_escape(written):
    assert repr(from_words(["a", "b", "c", "d"])) == "WordList(4 words from 'memory': 'a', 'b', 'c', …)"
    assert repr(read_words(written("a\nb", name="\x1b[31m.txt"))).isprintable()


class TestColumns:
    def test_by_name_or_number(self, written):
        path = written("name,count\nAnna,3\n\nBob,4\n")
        assert read_words(path, column="name").words == ("Anna", "Bob")
        assert read_words(path, column="name").blank == 1
        assert read_words(path, column=2).words == read_words(path, column="2").words == ("count", "3", "4")

    def test_a_name_comes_before_a_number_and_upper_case_names_are_found(self, written):
        path = written("2,NAME\nAnna,Bob\n")
        assert read_words(path, column="2").words == ("Anna",)
        assert read_words(path, column="NAME", lower=True).words == ("bob",)

    def test_separators_and_quotes(self, written):
        assert read_words(written('name;n\n"van Dyck; sen.";3\n"He said ""no""";4\n'), column="name").words == (
            "van Dyck; sen.",
            'He said "no"',
        )
        assert read_words(written('n\tname\n3\t"Anna\n4\tBob\n'), column="name").words == ('"Anna', "Bob")
        assert read_words(written('name\n"Smith, John"\n'), column="name").words == ("Smith, John",)

    def test_short_rows_are_blank(self, written):
        read = read_words(written("n,name\n1\n2,Bob\n"), column="name")
        assert (read.words, read.blank) == (("Bob",), 1)

    def test_many_rows_are_numbered_to_the_end(self, written):
        rows = 70_000  # more than are handed on together
        assert len(read_words(written("name\n" + "anna\n" * rows), column="name")) == rows
        assert f"row {rows + 2}" in message_of(read_words, written("name,n\n" + "anna,1\n" * rows + "a\x1bb,1\n"), column="name")

    @pytest.mark.parametrize("column", ["nom", -1, 3, "3", "", "9" * 50, "²"])
    def test_an_unknown_column_lists_the_columns(self, written, column):
        assert "expected one of 'name', 'n\\x1b'" in message_of(read_words, written("name,n\x1b\nAnna,1\n"), column=column)

    def test_a_quotation_mark_left_open(self, written):
        path = written('name,n\n"Anna,1\n' + "Bob,2\n" * 50_000)
        assert "look for a quotation mark left open" in message_of(read_words, path, column="name")

    def test_a_column_of_nothing(self, written):
        assert "no word in that column" in message_of(read_words, written("name\n"), column="name")
        assert "holds only blank rows (2)" in message_of(read_words, written("name,n\n,1\n,2\n"), column="name")


class TestSplit:
    def test_the_published_shuffle(self):
        words = [str(n) for n in range(100)]
        expected = list(words)
        random.seed(42)
        random.shuffle(expected)
        made = split(words)
        assert made == (tuple(expected[:80]), tuple(expected[80:90]), tuple(expected[90:]))

    @pytest.mark.needs_names
    def test_the_published_split(self, names):
        assert [len(part) for part in split(read_words(names))] == [25_626, 3_203, 3_204]
        assert split(read_words(names)).train[:3] == ("yuheng", "diondre", "xavien")  # as the lecture prints them

    @given(
        st.integers(0, 300),
        st.tuples(st.floats(0.01, 0.98), st.floats(0.01, 0.98)).filter(lambda f: sum(f) < 0.99),
        st.integers(0, 2**40),
    )
    def test_parts_are_disjoint_and_complete(self, count, fractions, seed):
        words = [str(n) for n in range(count)]
        try:
            parts = split(words, fractions=fractions, seed=seed)
        except WordListError:
            assert count * min(*fractions, 1 - sum(fractions)) < 1 + 1e-6
        else:
            assert sorted(w for part in parts for w in part) == sorted(words)
            assert all(parts)
            assert len(parts.train) == int(fractions[0] * count)
            assert parts == split(words, fractions=fractions, seed=seed)

    def test_seed_and_order(self):
        words = list(map(str, range(50)))
        before = random.getstate()
        assert split(words, seed=1) != split(words, seed=2)
        assert words == list(map(str, range(50)))
        assert random.getstate() == before

    def test_a_sum_that_floats_miss(self):
        assert [len(part) for part in split(["a"] * 10, fractions=(0.7, 0.1))] == [7, 1, 2]

    def test_too_few_words_say_how_many_are_enough(self):
        assert "5 words are too few to split into train, dev and test (4, 0 and 1); expected 10 or more" in message_of(
            split, ["a"] * 5
        )
        assert all(split(["a"] * 10))
        assert all(split(["a"] * 34, fractions=(0.5, 0.47)))
        assert "expected 34 or more" in message_of(split, ["a"] * 2, fractions=(0.5, 0.47))

    @pytest.mark.parametrize(
        "fractions",
        [(0.9, 0.1), (0.8, 0.0), (-0.1, 0.5), (float("nan"), 0.1), (1e-320, 0.1), (0.8,), "ab", (0.5, 0.2, 0.3), None],
    )
    def test_fractions_that_leave_a_part_nothing(self, fractions):
        with pytest.raises(ConfigError, match="fractions got"):
            split(["a"] * 100, fractions=fractions)

    @pytest.mark.parametrize("seed", [1.5, "42", None, True])
    def test_seed_is_a_whole_number(self, seed):
        with pytest.raises(LettrineError, match="seed got"):
            split(["a"] * 100, seed=seed)

    def test_repr(self):
        assert repr(split(["a"] * 10)) == "Split(train=8 words, dev=1, test=1)"


class TestWhatIsNoList:
    @pytest.mark.parametrize(
        ("name", "text", "what"),
        [
            ("t.csv", "name,sex\nanna,F\n", "2 columns with commas between them: 'name', 'sex'"),
            ("t.tsv", "name\tsex\nanna\tF\n", "2 columns with tabs"),
            ("t.csv", "name;born;sex\nanna;1990;F\n", "3 columns with semicolons"),
            ("t.txt", "anna,F\nbob,M\ncarl,M\ndan,M\neve,F\n", "2 columns with commas"),
            ("t.txt", "anna\tF\nbob\tM\ncarl\tM\ndan\tM\neve\tF\n", "choose one with --column"),
        ],
    )
    def test_a_table_is_told_and_a_column_asked_for(self, tmp_path, name, text, what):
        (tmp_path / name).write_text(text)
        assert what in message_of(read_words, tmp_path / name)
        assert len(read_words(tmp_path / name, column=1)) == text.count("\n")

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("t.csv", "anna\nbob\n"),
            ("t.txt", "Smith, John\n" * 9),
            ("t.txt", "anna\nbob,the\ncarl\ndan\neve\n"),
            ("t.txt", "a,b\nc,d\n"),
        ],
    )
    def test_a_list_is_taken_for_no_table(self, tmp_path, name, text):
        (tmp_path / name).write_text(text)
        assert len(read_words(tmp_path / name)) == text.count("\n")

    def test_column_0_reads_whole_lines(self, tmp_path):
        (tmp_path / "t.csv").write_text("a,b\nc,d\n")
        assert (
            read_words(tmp_path / "t.csv", column=0).words == read_words(tmp_path / "t.csv", column="0").words == ("a,b", "c,d")
        )

    @pytest.mark.parametrize(
        "line", ["<li>anna</li>", "<!DOCTYPE html>", "<br/>", "tom &amp; jerry", "a&#233;b", '<a href="x">b</a>']
    )
    def test_html_is_told(self, written, line):
        (note,) = read_words(written(f"anna\n{line}\nbob\n")).notes
        assert "1 line looks like HTML, first line 2" in note

    @pytest.mark.parametrize(
        "word", ["José", "Zoë", "àéîõü", "naïve", "Łódź", "“quoted”", "Šárka", "ß", "Größe", "10 €", "Ångström"]
    )
    def test_garbled_lines_are_told_with_what_they_may_have_been(self, written, word):
        garbled = "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in word.encode()).strip()
        if CONTROLS and any("\x7f" <= c <= "\x9f" for c in garbled):
            pytest.skip("holds a control character, which is refused")
        (note,) = read_words(written(f"anna\n{garbled}\n{garbled}\n")).notes
        assert "2 lines look garbled, first line 2" in note
        assert word in note

    @pytest.mark.parametrize(
        "word",
        ["José", "ÚŠTĚK", "São", "ÎLE", "a < b > c", "x<y", "AT&T", "Ærø", "Ñandú", "ŽIŽKA", "œuvre", "Łódź", "Ô", "Â", "<3"],
    )
    def test_words_are_no_oddities(self, written, word):
        assert read_words(written(f"anna\n{word}\n")).notes == ()
