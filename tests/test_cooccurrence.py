"""The fast counts against a plain loop over documents and words, and what must hold when files are broken or a run is killed."""

import functools
import itertools
import resource
import sys
import unicodedata
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_pivots import artifacts, cooccurrence, matching
from semantic_pivots.cooccurrence import cooccurrence_table, count_documents, npmi, shard_incidence
from semantic_pivots.matching import Matcher, Vocabulary, fold, surface_forms
from tests.bench_counting import find_words, plain_fold, spaced

WORDS = [  # overlapping words, ligatures, apostrophes, hyphens, two scripts in one word, the same string in two languages
    ("table.n", "n", "table", "table", "桌子", "机"),
    ("tablet.n", "n", "tablet", "tablette", "平板", "タブレット"),
    ("heart.n", "n", "heart", "cœur", "心", "心"),
    ("school.n", "n", "school", "école", "学校", "学校"),
    ("learn.v", "v", "learn", "apprendre", "学", "学習する"),
    ("university.n", "n", "university", "université", "大学", "大学校"),
    ("love.v", "v", "love", "aimer", "爱", "愛する"),
    ("today.n", "n", "today", "aujourd’hui", "今天", "今日"),
    ("shirt.n", "n", "t-shirt", "tee-shirt", "恤", "Tシャツ"),
    ("street.n", "n", "street", "Straße", "街", "ガラス"),
    ("film.n", "n", "3d-film", "film", "3d电影", "3D映画"),
    ("never.n", "n", "zyzzyva", "zyzzyve", "鱻", "ヰヱ"),
]
VARIANTS = [
    lambda w: w,
    str.upper,
    lambda w: unicodedata.normalize("NFD", w),
    lambda w: w.replace("œ", "OE").replace("’", "'"),
    lambda w: w[:-1] + "\u00ad" + w[-1:],
]
PIECES = [
    *" \n\t,.'’-‐!?、。「」（），…・_~ー々ßﬁ½²İıſςéœæẞ中のア한กаαא٣",
    *"0９aAzéＡ\u0301\u0323\u0308\u3099\u200d\ufe0f\u00ad\x00\x1e\x1f\ufffd\U0001f600\U00020000",
]
PIECES += ["\ud800", "\udfff", "\u00a0", "s", "tables", "ﾀﾌﾞﾚｯﾄ", "学校", "愛し", "計算", "l'", "x", "e\u0301cole", "ŉ"]


@pytest.fixture(scope="session")
def words():
    table = pd.DataFrame(WORDS, columns=["concept_id", "pos", "en", "fr", "zh", "ja"])
    for la in ("en", "fr", "zh", "ja"):
        table[f"valid_{la}"] = [[w, w + "s"] if la in ("en", "fr") else [w] for w in table[la]]
    return table.set_index("concept_id", drop=False)


@pytest.fixture(scope="session")
def vocabulary(words):
    return Vocabulary.from_lexicon(words)


@pytest.fixture(scope="session")
def matcher(vocabulary):
    return Matcher(vocabulary)


written = st.builds(lambda w, f: f(w), st.sampled_from([w for row in WORDS for w in row[2:]]), st.sampled_from(VARIANTS))
texts = st.lists(st.one_of(written, st.sampled_from(PIECES), st.text(max_size=3)), max_size=12).map("".join)
storable = texts.map(lambda t: t.encode("utf-8", "replace").decode())  # Parquet holds no lone surrogates


def write(path, documents, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(documents, pa.string())} | columns), path, row_group_size=3)
    return path


def plain_counts(documents, vocabulary):
    """n_word and n_both by a loop over documents, concepts and languages."""
    n_lang, n_concepts = len(vocabulary.languages), len(vocabulary.concept_ids)
    n_word, n_both = np.zeros((n_lang, n_concepts), int), np.zeros((n_lang, n_lang, n_concepts), int)
    for document in documents:
        for c in range(n_concepts):
            there = [bool(find_words(document or "", list(vocabulary.forms[i][c]))) for i in range(n_lang)]
            for i in range(n_lang):
                n_word[i, c] += there[i]
                for j in range(n_lang):
                    n_both[i, j, c] += there[i] and there[j]
    return n_word, n_both


# What counts as a word


@settings(max_examples=300, deadline=None)
@given(documents=st.lists(texts, max_size=5), window=st.sampled_from([1, 7, 40, 1 << 17]))
def test_finding_equals_a_plain_loop(matcher, documents, window):
    with mock.patch.object(matching, "WINDOW", window):
        found = matcher.find(documents).toarray()
    assert found.shape == (len(documents), len(matcher.strings))
    for row, document in zip(found, documents):
        assert {matcher.strings[j] for j in np.flatnonzero(row)} == find_words(document, matcher.strings)


def test_folding_and_word_characters_equal_their_definitions_on_all_of_unicode():
    everything = " ".join(map(chr, range(sys.maxunicode + 1)))
    folded = fold(everything)
    assert folded == plain_fold(everything)
    inside, initial = matching._tables()
    assert [bool(x) for x in inside[:0x20000]] == [spaced.__wrapped__(chr(c)) for c in range(0x20000)]
    capitals = initial[initial != np.arange(len(initial))]
    assert len(set(capitals.tolist())) == len(capitals) > 1000 and not {chr(c) for c in capitals} & set(folded)


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        ("Tables, tablets, ma tablette", ["tablette"], ["table", "tablet"]),
        ("LA TABLE.", ["table"], []),
        ("table2 2table _table_", ["table"], []),
        ("table2 2table", [], ["table"]),
        ("tablé table\u0323", [], ["table"]),
        ("私のtableです", ["table"], []),
        ("大学校", ["学", "学校", "大学", "大学校"], []),
        ("le C\u0152UR, un coeur", ["coeur"], []),
        ("e\u0301cole", ["école"], []),
        ("l’école d'aujourd'hui", ["école", "aujourd'hui"], []),
        ("ﾀﾌﾞﾚｯﾄとＴシャツ", ["タブレット", "tシャツ"], []),
        ("XTシャツ", [], ["tシャツ"]),
        ("愛しています", ["愛し"], ["愛す"]),
        ("学習しました", ["学習", "学"], []),
        ("strasse STRAẞE", ["strasse"], []),
        ("❤\ufe0ftable", ["table"], []),
        ("a3d-film 13d电影 \u0663d映画", ["film"], ["3d-film", "3d电影", "3d映画"]),
        ("在3D电影里", ["3d电影"], []),
    ],
)
def test_words_that_count(matcher, text, present, absent):
    found = {matcher.strings[j] for j in matcher.find([text]).indices}
    assert set(present) <= found and not set(absent) & found


@pytest.mark.parametrize("window", range(1, 30))
def test_words_across_windows(matcher, monkeypatch, window):
    monkeypatch.setattr(matching, "WINDOW", window)
    longest = max(matcher.strings, key=len)
    assert longest == "aujourd'hui"
    assert matcher.find([f"x{longest} {longest}x"]).nnz == 0
    assert matcher.find(["", f"x {longest}", longest]).sum(axis=1).tolist() == [0, 1, 1]


def test_surface_forms():
    assert surface_forms("計算する", "ja", "v") == ("計算",)
    assert surface_forms("愛する", "ja", "v") == ("愛さ", "愛し", "愛す", "愛せ")
    for word in ("する", "こする", "目にする", "食べる"):
        assert surface_forms(word, "ja", "v") == (word,)
    assert surface_forms("計算する", "zh", "v") == ("計算する",)
    assert surface_forms("Œuf", "fr", "n") == ("oeuf",)
    with pytest.raises(ValueError, match="the fr word .* is empty"):
        surface_forms("\u00a0", "fr", "n")


def test_accepted_words_count_too(words):
    document = ["Two tables"]
    main, accepted = (Vocabulary.from_lexicon(words, accepted=a) for a in (False, True))
    assert Matcher(main).incidence(document).nnz == 0
    assert sorted(Matcher(accepted).incidence(document).nonzero()[1].tolist()) == [accepted.column("table.n", "en"), accepted.column("table.n", "fr")]
    assert main.digest != accepted.digest


def test_an_empty_vocabulary_is_refused(words):
    with pytest.raises(ValueError, match="vocabulary is empty"):
        Matcher(Vocabulary.from_lexicon(words.head(0)))


# Counts


@settings(max_examples=40, deadline=None)
@given(documents=st.lists(st.one_of(storable, st.none()), min_size=1, max_size=9), rows=st.integers(1, 4))
def test_counts_equal_a_plain_loop_whatever_the_shards(vocabulary, tmp_path_factory, documents, rows):
    folder = tmp_path_factory.mktemp("corpus")
    one = write(folder / "one" / "all.parquet", documents)
    five = [write(folder / f"{i}.parquet", documents[i::5]) for i in range(5)]
    with mock.patch.object(cooccurrence, "ROW_BATCH", rows):
        counts = [count_documents(s, vocabulary) for s in ([one], one.parent, five)]
    n_word, n_both = plain_counts(documents, vocabulary)
    for c in counts:
        assert (c.n_docs, c.n_null, c.complete) == (len(documents), documents.count(None), True)
        np.testing.assert_array_equal(c.n_word, n_word)
        np.testing.assert_array_equal(c.n_both, n_both)


def test_the_table_keeps_zeros_and_marks_equal_words(vocabulary, tmp_path):
    counts = count_documents([write(tmp_path / "a.parquet", ["heart cœur 心", "la table", "心", ""])], vocabulary)
    table = cooccurrence_table(counts, "toy")
    assert table.columns.tolist()[:9] == ["corpus", "source_lang", "target_lang", "concept_id", "n_docs", "n_source", "n_target", "n_both", "npmi"]
    assert len(table) == 12 * len(WORDS) and not table.duplicated(["source_lang", "target_lang", "concept_id"]).any()
    row = table.set_index(["source_lang", "target_lang", "concept_id"]).loc
    assert (row["en", "fr", "never.n"][["n_docs", "n_source", "n_target", "n_both"]] == [4, 0, 0, 0]).all() and pd.isna(row["en", "fr", "never.n"].npmi)
    assert (row["en", "zh", "heart.n"][["n_source", "n_target", "n_both", "n_expected"]] == [1, 2, 1, 0.5]).all()
    assert row["zh", "ja", "heart.n"].identical and row["en", "fr", "table.n"].identical and not row["en", "zh", "heart.n"].identical
    assert (table.n_both[table.identical] == table.n_source[table.identical]).all()
    swapped = row["zh", "en", "heart.n"]
    assert (swapped.n_source, swapped.n_target, swapped.n_both, swapped.npmi) == (2, 1, 1, row["en", "zh", "heart.n"].npmi)
    assert len(cooccurrence_table(counts, "toy", [("ja", "fr")])) == len(WORDS)
    artifacts.write_table(table, tmp_path / "table.parquet")
    assert pq.read_table(tmp_path / "table.parquet")["npmi"].null_count == table.npmi.isna().sum() > 0


def test_npmi_identities():
    assert npmi([200], [500], [100], 1000)[0] == pytest.approx(0)  # independent
    assert npmi([7], [7], [7], 1000)[0] == pytest.approx(1)  # always together
    assert npmi([1000], [1000], [1000], 1000)[0] == 1
    assert np.isnan(npmi([5, 0], [9, 0], [0, 0], 1000)).all() and np.isnan(npmi([0], [0], [0], 0)[0])
    assert -1 < npmi([500_000], [500_000], [1], 10**6)[0] < -0.8
    a, b = np.random.default_rng(0).integers(1, 500, (2, 200))
    values = npmi(a, b, np.minimum(a, b), 1000)
    assert ((values > 0) & (values <= 1 + 1e-12)).all()
    np.testing.assert_array_equal(values, npmi(b, a, np.minimum(a, b), 1000))


def test_npmi_of_independent_words_is_near_zero(vocabulary, tmp_path):
    random = np.random.default_rng(0)
    documents = [" ".join(w for w, there in zip(("heart", "cœur"), random.random(2) < 0.5) if there) for _ in range(4000)]
    table = cooccurrence_table(count_documents([write(tmp_path / "a.parquet", documents)], vocabulary), "toy", [("en", "fr")])
    heart = table.set_index("concept_id").loc["heart.n"]
    assert abs(heart.npmi) < 0.03 and heart.n_both == pytest.approx(heart.n_expected, rel=0.1)


def test_by_language_counts_words_in_their_own_language(vocabulary, tmp_path):
    segments = [
        [{"lang": "en", "text": "a table"}, {"lang": "zh", "text": "心"}],
        [{"lang": "fr", "text": "une table"}, {"lang": "en", "text": "table"}, {"lang": "en", "text": "no table"}],
        [],
        None,
        [{"lang": "ja", "text": None}],
    ]
    joined = [" ".join(s["text"] or "" for s in segs or []) for segs in segments[:2]] + ["心 table", "心", ""]
    kind = pa.list_(pa.struct([("lang", pa.string()), ("text", pa.string())]))
    path = write(tmp_path / "a.parquet", joined, lang=["mixed", "mixed", "ja", "zh", "ja"], segments=pa.array(segments, kind))
    column = vocabulary.column
    for rows in (1, 2, 100):  # also where a batch is a slice of a column
        with mock.patch.object(cooccurrence, "ROW_BATCH", rows):
            own = shard_incidence(path, Matcher(vocabulary), by_language=True)
            every = shard_incidence(path, Matcher(vocabulary))
        assert [own.documents(column("table.n", la)).tolist() for la in ("en", "fr")] == [[0, 1], [1]]
        assert [own.documents(column("heart.n", la)).tolist() for la in ("zh", "ja")] == [[0, 3], [2]]
        assert [every.documents(column("table.n", la)).tolist() for la in ("en", "fr")] == [[0, 1, 2]] * 2
        assert [every.documents(column("heart.n", la)).tolist() for la in ("zh", "ja")] == [[0, 2, 3]] * 2
    counts = count_documents([path], vocabulary, by_language=True)
    assert cooccurrence_table(counts, "toy", [("en", "fr")]).set_index("concept_id").n_both["table.n"] == 1


def test_segments_given_by_length_are_cut_from_the_text(vocabulary, matcher, tmp_path):
    kind = pa.list_(pa.struct([("lang", pa.string()), ("n_chars", pa.int64())]))
    parts = [[("en", "a table"), ("zh", "心"), ("fr", "une\ntable")], [("ja", "心")], [("fr", "le cœur"), ("en", "heart")]]
    texts = ["\n".join(text for _, text in segments) for segments in parts]
    lengths = [[{"lang": la, "n_chars": len(text)} for la, text in segments] for segments in parts]
    path = write(tmp_path / "a.parquet", texts, lang=["mixed", "ja", "mixed"], segments=pa.array(lengths, kind))
    own = shard_incidence(path, matcher, by_language=True)
    expected = {("table.n", "en"): [0], ("table.n", "fr"): [0], ("heart.n", "zh"): [0], ("heart.n", "ja"): [1], ("heart.n", "fr"): [2], ("heart.n", "en"): [2]}
    assert {key: own.documents(vocabulary.column(*key)).tolist() for key in expected} == expected
    lengths[2][1]["n_chars"] += 1
    path = write(tmp_path / "b.parquet", texts, lang=["mixed", "ja", "mixed"], segments=pa.array(lengths, kind))
    with pytest.raises(ValueError, match=r"b.parquet: the segments of a document are longer \(14 characters\) than its text \(13\)"):
        shard_incidence(path, matcher, by_language=True)


def test_by_language_uses_the_document_where_there_are_no_segments(vocabulary, matcher, tmp_path):
    path = write(tmp_path / "a.parquet", ["table", "table"], lang=["en", "fr"])
    assert shard_incidence(path, matcher, by_language=True).documents(vocabulary.column("table.n", "fr")).tolist() == [1]
    for columns, tag in (({"lang": ["en", "mixed"]}, "'mixed'"), ({}, "None")):
        with pytest.raises(ValueError, match=f"b.parquet.*{tag} has no segments"):
            shard_incidence(write(tmp_path / "b.parquet", ["table", "table"], **columns), matcher, by_language=True)


# Difficult files


def test_a_damaged_shard_is_named_and_the_others_are_counted(vocabulary, tmp_path):
    shards = [write(tmp_path / f"{i}.parquet", ["heart cœur"] * 50) for i in range(4)]
    good = shards[1].read_bytes()
    shards[1].write_bytes(good[: len(good) // 2])
    pq.write_table(pa.table({"body": ["heart"]}), shards[2])
    cache = tmp_path / "cache"
    for fresh in (2, 0):
        counts = count_documents(tmp_path, vocabulary, cache=cache)
        assert (counts.complete, counts.n_docs, counts.n_fresh) == (False, 100, fresh)
        assert [name for name, _ in counts.failed] == ["1.parquet", "2.parquet"]
        assert "no column 'text', only body" in counts.failed[1][1] and "1.parquet" in counts.failed[0][1]
        assert len(list(cache.iterdir())) == 2
    shards[1].write_bytes(good)
    write(shards[2], ["heart"])
    mended = count_documents(tmp_path, vocabulary, cache=cache)
    assert (mended.complete, mended.n_docs, mended.n_fresh) == (True, 151, 2)
    np.testing.assert_array_equal(mended.n_both, count_documents(tmp_path, vocabulary).n_both)


def test_damage_in_the_middle_leaves_nothing_of_the_shard(vocabulary, tmp_path):
    path = write(tmp_path / "a.parquet", [f"heart {i} " * 40 for i in range(200)])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    path.write_bytes(content)
    counts = count_documents([path, tmp_path / "missing.parquet"], vocabulary)
    assert (counts.n_docs, counts.n_word.sum(), len(counts.failed)) == (0, 0, 2)
    assert cooccurrence_table(counts, "toy").npmi.isna().all()


def test_a_column_of_numbers_is_no_text(vocabulary, tmp_path):
    pq.write_table(pa.table({"text": [1.5, 2.5]}), tmp_path / "a.parquet")
    assert count_documents(tmp_path, vocabulary).failed[0][0] == "a.parquet"


def test_a_wrong_language_tag_is_an_error_where_tags_are_used(vocabulary, tmp_path):
    for tag in ("de", None):
        write(tmp_path / "a.parquet", ["x", "y"], lang=pa.array(["en", tag], pa.string()))
        with pytest.raises(ValueError, match=f"a.parquet: unknown language tag {tag!r}; known: en, fr, zh, ja, mixed"):
            count_documents(tmp_path, vocabulary, by_language=True)
        assert count_documents(tmp_path, vocabulary).n_docs == 2


def test_no_shards_are_an_error(vocabulary, tmp_path):
    with pytest.raises(ValueError, match=f"no shard .* in {tmp_path}"):
        count_documents(tmp_path, vocabulary)
    with pytest.raises(ValueError, match="list of shards is empty"):
        count_documents([], vocabulary)


def test_a_long_line_in_bounded_memory(vocabulary, matcher, tmp_path):
    line = "tablet 大学校 l’œuvre était ici, " * 260_000  # 10 MB
    path = write(tmp_path / "a.parquet", [line + "cœur", "心", line])
    assert len(line.encode()) > 1e7
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    incidence = shard_incidence(path, matcher)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    assert [incidence.documents(vocabulary.column("heart.n", la)).tolist() for la in ("fr", "zh")] == [[0], [1]]
    assert incidence.documents(vocabulary.column("tablet.n", "en")).tolist() == [0, 2]
    assert grown < 200e6


def test_strange_texts_do_not_disturb_their_neighbours(matcher, vocabulary, tmp_path):
    strange = ["", "\x1e", "\x00table\x00", "heart\x1eheart", "\ud83d\ude00 table", "\x1e" * 5 + "table", "a" * 1000, "\r\n\t table"]
    found = matcher.incidence(strange)[:, [vocabulary.column("table.n", "en")]].toarray().ravel()
    assert found.tolist() == [False, False, True, False, True, True, False, True]
    assert matcher.incidence([]).shape == (0, len(vocabulary))
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xed\xa0\x80 table \xff", b"table"]).buffers())  # no UTF-8
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    assert count_documents(tmp_path, vocabulary).n_word[0, 0] == 2
    pq.write_table(pa.table({"text": pa.array(["table"], pa.large_string())}), tmp_path / "a.parquet")
    assert count_documents(tmp_path, vocabulary).n_word[0, 0] == 1
    write(tmp_path / "a.parquet", [])
    assert count_documents(tmp_path, vocabulary).n_docs == 0


# Resuming


def test_a_killed_run_goes_on_where_it_was(vocabulary, tmp_path, monkeypatch):
    for i in range(5):
        write(tmp_path / f"{i}.parquet", [f"heart {i}", "cœur heart"])
    cache, batches, read = tmp_path / "cache", cooccurrence._batches, []

    def counted(stop, path, by_language):
        if path.name == stop:
            raise KeyboardInterrupt
        read.append(path.name)
        return batches(path, by_language)

    monkeypatch.setattr(cooccurrence, "_batches", functools.partial(counted, "3.parquet"))
    with pytest.raises(KeyboardInterrupt):
        count_documents(tmp_path, vocabulary, cache=cache)
    before = list(read)  # shards beside the one at which it was killed are counted to their end
    assert sorted(p.name.split("-")[0] + ".parquet" for p in cache.iterdir()) == sorted(before) and "3.parquet" not in before
    monkeypatch.setattr(cooccurrence, "_batches", functools.partial(counted, None))
    counts = count_documents(tmp_path, vocabulary, cache=cache)
    assert sorted(read) == [f"{i}.parquet" for i in range(5)] and counts.n_fresh == 5 - len(before)
    again = count_documents(tmp_path, vocabulary, cache=cache)
    assert again.n_fresh == 0 and len(read) == 5
    for name, value in vars(count_documents(tmp_path, vocabulary)).items():
        if name != "n_fresh":
            np.testing.assert_equal(getattr(again, name), value)


def test_the_cache_knows_what_it_depends_on(words, vocabulary, tmp_path, monkeypatch):
    path, cache = write(tmp_path / "a.parquet", ["tables table", "心"], lang=["en", "zh"]), tmp_path / "cache"
    accepted = Vocabulary.from_lexicon(words, accepted=True)
    runs = list(itertools.product((vocabulary, accepted), (False, True)))
    for fresh in (1, 0):
        sums = []
        for v, by_language in runs:
            counts = count_documents([path], v, by_language, cache)
            assert counts.n_fresh == fresh
            sums.append(counts.n_word.sum())
        assert sums == [4, 2, 4, 2]
    monkeypatch.setattr(cooccurrence, "VERSION", -1)
    assert count_documents([path], vocabulary, cache=cache).n_fresh == 1
    write(path, ["other"], lang=["en"])
    assert count_documents([path], vocabulary, cache=cache).n_fresh == 1


def test_a_damaged_cache_is_made_anew(vocabulary, tmp_path):
    path, cache = write(tmp_path / "a.parquet", ["heart"]), tmp_path / "cache"
    expected = count_documents([path], vocabulary, cache=cache)
    (kept,) = cache.iterdir()
    content = kept.read_bytes()
    for damaged in (b"", content[:100], content[:-30], content.replace(b"indices", b"indexes"), b"\x80\x04K\x01."):
        kept.write_bytes(damaged)
        counts = count_documents([path], vocabulary, cache=cache)
        assert counts.n_fresh == 1 and (counts.n_both == expected.n_both).all()
        assert kept.read_bytes() == content  # the same run gives the same bytes
