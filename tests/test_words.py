"""The word index against a plain loop over documents, and what must hold for damaged shards and caches."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semantic_pivots import words
from semantic_pivots.words import index_corpus, split_words

DOCUMENTS = [
    ("a", [("en", "The school's Table-top, the SCHOOL.")]),
    ("b", [("fr", "L’École et la table, aujourd’hui ; cœur."), ("en", "The heart_of it")]),
    ("c", [("zh", "我们在学校学习。ＷＩＮＤＯＷＳ 文件"), ("ja", "学校で勉強します。\nＷｉｎｄｏｗｓ")]),
    ("d", [("ja", "私は学生です。"), ("en", "student student 42")]),
    ("e", [("en", "…!?")]),
    ("f", [("fr", "table table TABLE")]),
]


def write(path, documents):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "doc_id": name,
            "lang": segments[0][0] if len({la for la, _ in segments}) == 1 else "mixed",
            "text": "\n".join(t for _, t in segments),
            "segments": [{"lang": la, "n_chars": len(t)} for la, t in segments],
        }
        for name, segments in documents
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "corpus" / "a.parquet", DOCUMENTS[:3])
    write(tmp_path / "corpus" / "b.parquet", DOCUMENTS[3:])
    return tmp_path / "corpus"


def held(index):
    """Document -> its (language, word) pairs."""
    rows = index.incidence.toarray()
    return {d: {(index.langs[k], index.words[k]) for k in np.flatnonzero(rows[i])} for i, d in enumerate(index.doc_ids)}


@pytest.mark.parametrize("min_docs", [1, 2, 3])
def test_index_equals_a_loop_over_documents(folder, min_docs):
    index = index_corpus(folder, min_docs)
    expected = {d: {(la, w) for la, t in segments for w in split_words(t, la)} for d, segments in DOCUMENTS}
    n_docs = {k: sum(k in ws for ws in expected.values()) for ws in expected.values() for k in ws}
    assert held(index) == {d: {k for k in ws if n_docs[k] >= min_docs} for d, ws in expected.items()}
    assert list(zip(index.langs, index.words)) == sorted(index.columns, key=lambda k: (list(words.LANGUAGES).index(k[0]), k[1]))
    assert index.n_docs.tolist() == [n_docs[k] for k in index.columns]
    assert index.n_words.tolist() == [sum(len(split_words(t, la)) for la, t in s) for _, s in DOCUMENTS]
    assert index.incidence.dtype == np.uint8 and index.incidence.has_sorted_indices and set(index.incidence.data) <= {1}


def test_words_of_each_language():
    assert split_words("The school's Table-top", "en") == ["the", "school", "s", "table", "top"]
    assert split_words("L’ÉCOLE, cœur", "fr") == ["l", "école", "coeur"]
    assert split_words("我们在学校学习。ＷＩＮＤＯＷＳ", "zh") == ["我们", "在", "学校", "学习", "windows"]
    assert split_words("学校で勉強します。\nﾃｰﾌﾞﾙ", "ja") == ["学校", "で", "勉強", "し", "ます", "テーブル"]
    assert split_words("。", "ja") == split_words("", "zh") == []


def test_lines_are_cut_as_by_themselves():
    lines = ["学校で勉強します", "東京都に住む", "本日は晴天なり"]
    assert split_words("\n".join(lines), "ja") == [w for line in lines for w in split_words(line, "ja")]


def test_a_word_counts_in_its_own_language_only(folder):
    index = index_corpus(folder, 1)
    assert index.n_docs[index.columns["fr", "table"]] == 2 and index.n_docs[index.columns["en", "table"]] == 1


def test_cache_is_used_checked_and_follows_the_contents(folder, tmp_path, monkeypatch):
    fresh = index_corpus(folder, 1, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(words, "read_documents", lambda path: pytest.fail("a shard was read again"))
        again = index_corpus(folder, 1, tmp_path / "cache")
    assert held(again) == held(fresh) and again.n_words.tolist() == fresh.n_words.tolist()
    for kept in (tmp_path / "cache").iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    assert held(index_corpus(folder, 1, tmp_path / "cache")) == held(fresh)
    write(folder / "b.parquet", DOCUMENTS[3:5])
    assert set(held(index_corpus(folder, 1, tmp_path / "cache"))) == set("abcde")


def test_bad_input_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match="min_docs is 0"):
        index_corpus(folder, 0)
    with pytest.raises(ValueError, match="no shard"):
        index_corpus(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="unknown language 'de'"):
        split_words("Wort", "de")
    (folder / "c.parquet").write_bytes(b"no parquet")
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(ValueError, match="c.parquet"):
            index_corpus(folder, 1, cache)


def test_no_word_is_frequent_enough(folder):
    index = index_corpus(folder, 100)
    assert index.words == () and index.incidence.shape == (6, 0)
