"""Pivots in documents against a plain loop, words in other clothes, thresholds, types, and concepts without pivots."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from semantic_pivots import pivots, words
from semantic_pivots.matching import Vocabulary, fold
from semantic_pivots.pivots import Settings, discover, keep, thresholds, type_of, word_documents
from semantic_pivots.spellings import Spellings, han_variants
from tests.test_words import write

CONCEPTS = [
    ("dog.n", ["dog", "hound"], ["chien"], ["狗"], ["犬", "いぬ"]),
    ("school.n", ["school"], ["école"], ["学校"], ["学校"]),
    ("friend.n", ["friend"], ["ami"], ["朋友"], ["友達"]),
    ("never.n", ["never"], ["jamais"], ["从未"], ["決して"]),
]
OTHERS = {
    "en": ["dogs", "bark", "Teacher", "the", "school", "Friendly", "x", "7"],
    "fr": ["chiens", "aboyer", "maître", "le", "Dog", "7"],
    "zh": ["老师", "的", "apache", "7"],
    "ja": ["先生", "イヌ", "の", "7", "学校"],
}
SETTINGS = Settings(top=12, min_docs=3, shrinkage=2.0)


@pytest.fixture(scope="module")
def lexicon():
    rows = [{"concept_id": c, "pos": "n"} | {f"valid_{la}": w for la, w in zip(("en", "fr", "zh", "ja"), ws)} for c, *ws in CONCEPTS]
    table = pd.DataFrame(rows).assign(**{la: [r[f"valid_{la}"][0] for r in rows] for la in ("en", "fr", "zh", "ja")})
    return table.set_index("concept_id", drop=False)


@pytest.fixture(scope="module")
def documents(lexicon):
    random = np.random.default_rng(0)
    pool = {la: [w for c in lexicon[f"valid_{la}"][:3] for w in c] + OTHERS[la] for la in OTHERS}
    result = []
    for number in range(80):
        langs = random.choice(list(OTHERS), random.integers(1, 4), replace=False)
        result.append((f"d{number}", [(la, "。 ".join(random.choice(pool[la], random.integers(1, 6)))) for la in langs]))
    return result


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, documents, lexicon):
    folder = tmp_path_factory.mktemp("corpus")
    write(folder / "a.parquet", documents[:30])
    write(folder / "b.parquet", documents[30:])
    index = words.index_corpus(folder, 1)
    vocabulary = Vocabulary.from_lexicon(lexicon)
    return index, word_documents(folder, vocabulary), vocabulary, Vocabulary.from_lexicon(lexicon, accepted=True)


@pytest.fixture(scope="module")
def found(corpus):
    return discover(*corpus, Spellings(corpus[0].words), SETTINGS)


def npmi(n_a, n_b, n_ab, n):
    if not n_ab:
        return 0.0
    return 1.0 if n_ab == n else math.log(n_ab * n / (n_a * n_b)) / -math.log(n_ab / n)


def test_discovery_equals_a_loop_over_documents(found, corpus, documents, lexicon):
    held = [{(la, w) for la, t in segments for w in words.split_words(t, la)} for _, segments in documents]
    table, counted = found
    for row, (a, b) in itertools.product(lexicon.itertuples(), itertools.combinations(OTHERS, 2)):
        with_word = {
            la: {i for i, (_, segments) in enumerate(documents) for s, t in segments if s == la and contains(t, getattr(row, la), la)} for la in (a, b)
        }
        both = with_word[a] & with_word[b]
        got = counted[(counted.concept_id == row.concept_id) & (counted.lang_a == a) & (counted.lang_b == b)].iloc[0]
        assert (got.n_a, got.n_b, got.n_both) == (len(with_word[a]), len(with_word[b]), len(both))
        part = table[(table.concept_id == row.concept_id) & (table.lang_a == a) & (table.lang_b == b)]
        if min(len(with_word[a]), len(with_word[b])) < SETTINGS.min_docs:
            assert not got.enough and part.empty
            continue
        forms = {fold(w) for la in (a, b) for w in getattr(row, f"valid_{la}")}
        expected = {}
        for key in set().union(*held):
            where = {i for i, h in enumerate(held) if key in h}
            if not (where & with_word[a] and where & with_word[b]) or alike(key[1], forms) or (key[0] in ("zh", "ja") and key[1] == "apache"):
                continue
            n = len(documents)
            corrected = min(len(where & d) / len(d) - len(where) / n for d in with_word.values())
            joint = [len(where & d) for d in with_word.values()]
            ours = min(npmi(len(d), len(where), j, n) * j / (j + SETTINGS.shrinkage) for d, j in zip(with_word.values(), joint))
            apart = [len((where & with_word[la]) - both) for la in (a, b)]
            values = [npmi(len(with_word[la]) - len(both), len(where - both), k, n - len(both)) * k / (k + SETTINGS.shrinkage) for la, k in zip((a, b), apart)]
            expected[key] = (corrected, ours, *joint, len(where & both), len(where), *values)
        assert got.n_candidates == len(expected)
        for rank, place in (("rank_paper", 0), ("rank_ours", 1)):
            best = sorted((v[place] for v in expected.values() if v[place] > 0), reverse=True)[: SETTINGS.top]
            ranked = part[part[rank].notna()].sort_values(rank)
            assert ranked[rank].tolist() == list(range(1, len(best) + 1))
            assert ranked[["corrected", "association"][place]].to_numpy() == pytest.approx(best)
        for candidate in part.to_dict("records"):
            columns = ("corrected", "association", "df_a", "df_b", "df_both", "df_background", "apart_a", "apart_b")
            assert [candidate[c] for c in columns] == pytest.approx(expected[candidate["lang"], candidate["pivot"]])


def contains(text, word, lang):
    text, word = fold(text), fold(word)
    return word in text if lang in ("zh", "ja") else word in text.replace("。", " ").split()


def alike(word, forms):
    """Equal, or one begins the other by four letters or two characters; katakana as hiragana."""
    kana = str.maketrans({chr(c): chr(c - 0x60) for c in range(0x30A1, 0x30F7)})
    word = word.translate(kana)
    for form in {f.translate(kana) for f in forms}:
        least = 2 if form[0] > "\u2e80" else 4
        if word == form or (min(len(word), len(form)) >= least and (word.startswith(form) or form.startswith(word))):
            return True
    return False


def test_translations_are_known_in_any_form_and_in_their_own_language_only(found):
    table, _ = found
    known = table[table.translation].groupby("concept_id")[["lang", "pivot"]].apply(lambda t: set(zip(t["lang"], t["pivot"])))
    assert ("en", "dog") in known["dog.n"] and ("fr", "dog") not in known["dog.n"]
    assert all(w in ("dog", "hound", "chien", "狗", "犬", "いぬ", "イヌ") for _, w in known["dog.n"])


def test_concept_without_documents_is_reported_not_padded(found):
    table, counted = found
    assert "never.n" not in set(table.concept_id)
    assert not counted[counted.concept_id == "never.n"].enough.any()
    limits = pd.DataFrame({"measure": ["association", "similarity"], "threshold": [0.0, -1.0]})
    kept = keep(table.assign(similarity=0.0), limits)
    status = pivots.coverage(counted, kept)
    assert len(status) == len(CONCEPTS) * 12 and set(status[status.concept_id == "never.n"].status) == {"too few documents"}
    none = pivots.coverage(counted, keep(table.assign(similarity=0.0), limits.assign(threshold=2.0)))
    assert "no word associated" in set(none.status) and none.n_kept.sum() == 0


def test_no_concept_has_enough_documents(corpus):
    table, counted = discover(*corpus, Spellings(corpus[0].words), Settings(min_docs=1000))
    assert table.empty and not counted.enough.any() and len(counted) == len(CONCEPTS) * 6
    limits = pd.DataFrame({"measure": ["association", "similarity"], "threshold": [0.0, 0.0]})
    kept = keep(table.assign(similarity=0.0), limits)
    assert kept.empty and set(pivots.coverage(counted, kept).status) == {"too few documents"}
    with pytest.raises(ValueError, match="0 translations"):
        thresholds(table.assign(similarity=0.0), table.assign(similarity=0.0), SETTINGS)


def test_a_direction_and_its_reverse_have_the_same_pivots(found):
    table, _ = found
    limits = pd.DataFrame({"measure": ["association", "similarity"], "threshold": [0.05, 0.0]})
    both = keep(table.assign(similarity=np.where(table["column"] % 2, 0.5, -0.5)), limits)
    assert len(both) == 2 * len(table)
    swap = {"source": "target", "target": "source"}
    turned = both.rename(columns={c: c.replace(s, swap[s]) for c in both for s in swap if s in c})
    turned["type"] = turned.type.replace({"source-language word": "target-language word", "target-language word": "source-language word"})
    order = ["source_lang", "target_lang", "concept_id", "lang", "pivot"]
    pd.testing.assert_frame_equal(turned[both.columns].sort_values(order, ignore_index=True), both.sort_values(order, ignore_index=True), check_dtype=False)
    assert both[both.kept].association.min() > 0.05 and both[both.kept].similarity.min() > 0


@pytest.mark.parametrize(
    "word, lang, translation, expected",
    [
        ("7", "en", False, "number/symbol"),
        ("x", "en", False, "noise"),
        ("dog", "en", True, "English translation"),
        ("bark", "en", False, "English associate"),
        ("chien", "fr", True, "source-language word"),
        ("犬", "ja", True, "target-language word"),
        ("狗", "zh", True, "third-language translation"),
        ("老师", "zh", False, "third-language associate"),
    ],
)
def test_types(word, lang, translation, expected):
    assert type_of(word, lang, ("fr", "ja"), translation) == expected


def test_words_in_other_clothes():
    known = [
        "school",
        "schools",
        "schooling",
        "scholar",
        "scho",
        "sch",
        "ECOLE",
        "école",
        "学校",
        "學校",
        "学校生活",
        "学",
        "スクール",
        "すくーる",
        "ｽｸｰﾙ",
        "図書館",
        "图书馆",
        "cat",
        "cats",
    ]
    spellings = Spellings([fold(w) for w in known], {"図": "图", "書": "书", "館": "馆", "學": "学"})

    def same(*forms):
        return {known[i] for i in spellings.same(forms)}

    assert same("School") == {"school", "schools", "schooling", "scho"}  # "sch" is too short a beginning
    assert same("École") == {"école"}
    assert same("学校") == {"学校", "學校", "学校生活"}
    assert same("すくーる") == {"スクール", "すくーる", "ｽｸｰﾙ"} == {known[i] for i in spellings.equal(["スクール"])}
    assert same("图书馆") == {"図書館", "图书馆"}
    assert same("cat") == {"cat"} and same("cats") == {"cats"}  # three letters are too few for a beginning
    assert same() == set() == same("")


def test_han_variants_are_learnt_from_pairs_that_differ_in_characters_of_one_language_only():
    table = pd.DataFrame(
        {"valid_zh": [["图书馆"], ["地图"], ["书店", "店"], ["火车"], ["馆"]], "valid_ja": [["図書館"], ["地図"], ["書店"], ["列車", "火"], ["館"]]}
    )
    assert han_variants(table) == {"図": "图", "書": "书", "館": "馆"}


def test_thresholds_are_the_best_that_few_of_the_null_exceed():
    random = np.random.default_rng(0)
    null = pd.DataFrame(random.normal(size=(1000, 2)), columns=["association", "similarity"])
    candidates = null.assign(translation=np.arange(1000) % 2 == 0)
    candidates[["association", "similarity"]] += [2.0, 0.5]
    settings = Settings(max_false=0.05)
    table = thresholds(candidates, null, settings, 100).set_index("measure")
    known, best = candidates[candidates.translation], 0.0
    for a, s in itertools.product(*(np.quantile(null[m], np.linspace(0, 1, 101)) for m in ("association", "similarity"))):
        if ((null.association > a) & (null.similarity > s)).mean() <= 0.05:
            best = max(best, ((known.association > a) & (known.similarity > s)).mean())
    assert table.recall["both"] == pytest.approx(best) and table.false["both"] <= 0.05
    assert table.recall["both"] >= (known.association > null.association.quantile(0.95)).mean() - 0.01
    assert (table.n_translations == 500).all() and (table.n == 1000).all() and (table.n_null == 1000).all()


def test_mismatched_pairs_have_the_same_words_and_other_meanings(corpus):
    vocabulary = corpus[2]
    moved = pivots.mismatched(vocabulary, 1)
    for k, (before, after) in enumerate(zip(vocabulary.forms, moved.forms)):
        assert sorted(before) == sorted(after) and after[0] == before[k % len(before)]


def test_rankings_side_by_side(found, corpus):
    table, _ = found
    limits = pd.DataFrame({"measure": ["association", "similarity"], "threshold": [0.0, -1.0]})
    both = keep(table.assign(similarity=0.0), limits)
    compared = pivots.ranking_agreement(both, corpus[0], 0.3, 3)
    row = compared.iloc[0]
    part = both[(both.source_lang == row.source_lang) & (both.target_lang == row.target_lang) & (both.concept_id == row.concept_id)]
    assert row.overlap == pytest.approx((part.rank_paper.notna() & part.rank_ours.notna()).mean())
    assert row.common_ours == pytest.approx((part[part.rank_ours <= 3].df_background > 0.3 * 80).mean())
    third = part[part.translation & ~part.lang.isin([row.source_lang, row.target_lang])]
    assert row.translation_ours == pytest.approx(max(1 / third.rank_ours.dropna(), default=0.0))


def test_bad_input_is_named(corpus):
    index, documents, vocabulary, forms = corpus
    with pytest.raises(ValueError, match="80 documents"):
        discover(index, documents[:10], vocabulary, forms, Spellings(index.words))
    with pytest.raises(ValueError, match="different concepts"):
        discover(index, documents, vocabulary, Vocabulary(("x",), forms.languages, tuple((f[0],) for f in forms.forms)), Spellings(index.words))
    with pytest.raises(ValueError, match="max_false"):
        Settings(max_false=0.0)
