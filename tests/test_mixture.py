import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semantic_pivots import mixture
from semantic_pivots.mixture import CODES, Mix, epoch_rows, load_tokens
from semantic_pivots.tokenizer import train_tokenizer

WORDS = {"en": "dog cat school water fire tree", "fr": "chien chat école eau feu arbre", "zh": "狗 猫 学校 水 火 树", "ja": "イヌ ネコ 学校 みず ほのお 木"}


def write_shard(path, documents):
    """documents: (doc_id, lang, [(lang, text)])"""
    rows = {
        "doc_id": [d[0] for d in documents],
        "lang": [d[1] for d in documents],
        "text": ["\n".join(t for _, t in d[2]) for d in documents],
        "segments": [[{"lang": la, "n_chars": len(t)} for la, t in d[2]] for d in documents],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path)


def make_corpus(folder, n=300, seed=0):
    random = np.random.default_rng(seed)

    def sentence(la):
        return (" " if la in ("en", "fr") else "").join(random.choice(WORDS[la].split(), random.integers(2, 9)))

    for la in WORDS:
        write_shard(folder / f"{la}.parquet", [(f"{la}-{i}", la, [(la, "\n".join(sentence(la) for _ in range(random.integers(1, 12))))]) for i in range(n)])
    units = [
        [[(la, sentence(la)) for la in random.permutation(list(WORDS))[: random.integers(2, 5)].tolist()] for _ in range(random.integers(1, 5))]
        for _ in range(n)
    ]
    write_shard(folder / "mixed.parquet", [(f"mixed-{i}", "mixed", [s for unit in u for s in unit]) for i, u in enumerate(units)])
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return train_tokenizer(mixture.balanced_sample(folder), 420)


@pytest.fixture(scope="module")
def corpus(folder, tokenizer):
    return load_tokens(tokenizer, folder)


def pieces(rows):
    """Token ids of every piece, <s> included."""
    return [ids[piece == k].tolist() for ids, piece in zip(rows.ids, rows.piece) for k in range(1, piece.max() + 1)]


def test_languages_are_shuffled_within_units_and_units_stay_in_order(tmp_path, tokenizer):
    units = [["en", "ja"], ["ja", "en"], ["en", "fr", "zh", "ja"], ["zh", "en"]]
    segments = [(la, f"{la} {i}") for i, unit in enumerate(units) for la in unit]
    write_shard(tmp_path / "mixed.parquet", [("d", "mixed", segments)])
    corpus, orders = load_tokens(tokenizer, tmp_path), set()
    for epoch in range(30):
        ((_, *ids),) = pieces(epoch_rows(corpus, 0, epoch))
        lines = [line.split() for line in tokenizer.decode(ids).split("\n")]
        assert [int(i) for _, i in lines] == [i for i, unit in enumerate(units) for _ in unit]
        found = [[la for la, i in lines if int(i) == k] for k in range(len(units))]
        assert list(map(sorted, found)) == list(map(sorted, units))
        orders.add(str(found))
    assert len(orders) > 20


def test_every_mixed_document_is_read_whole_each_epoch(corpus, folder):
    for epoch in (0, 1):
        found = pieces(epoch_rows(corpus, 0, epoch, 256, Mix(1, 0)))
        assert sum(i[-1] == 2 for i in found) == corpus.mixed.sum()
        assert sum(len(i) - 1 for i in found) == corpus.lengths()[corpus.mixed].sum()


def test_a_segment_is_tokenized_as_within_its_document(corpus, folder, tokenizer):
    (first, *_) = mixture.read_documents(folder / "en.parquet")
    stop = corpus.segment_start[corpus.document_start[1]]
    assert corpus.tokens[: stop - 1].tolist() == tokenizer.encode(first.segments[0][1], add_special_tokens=False).ids


def test_each_third_is_another_and_three_make_all(corpus):
    single = np.flatnonzero(~corpus.mixed & ~corpus.held_out)
    drawn = [mixture._drawn(corpus, 5, e, Mix(0, 1 / 3)) for e in range(3)]
    assert sorted(np.concatenate(drawn)) == single.tolist()
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1
    twice = mixture._drawn(corpus, 5, 0, Mix(2, 0))
    assert np.bincount(twice, minlength=len(corpus))[corpus.mixed].tolist() == [2] * corpus.mixed.sum()


def test_held_out_documents_are_never_drawn(corpus):
    assert 0 < corpus.held_out.sum() < 40 and not (corpus.held_out & corpus.mixed).any()
    assert not set(mixture._drawn(corpus, 0, 0, Mix(1, 1)).tolist()) & set(np.flatnonzero(corpus.held_out).tolist())
    total = sum(epoch_rows(corpus, 0, 0, 64, held_out=i).n_tokens for i in range(len(CODES)))
    assert total >= corpus.lengths()[corpus.held_out].sum() + corpus.held_out.sum()


@pytest.mark.parametrize("context", [16, 64, 256])
def test_rows_are_full_and_pieces_begin_with_bos(corpus, context):
    rows = epoch_rows(corpus, 0, 0, context, Mix(1, 1))
    assert 1 - rows.n_tokens / rows.ids.size <= 0.03 or context == 16  # there a line fills a row or more
    found = pieces(rows)
    assert all(i[0] == 1 and 1 not in i[1:] and 2 <= len(i) <= context for i in found)
    ends = sum(i[-1] == 2 for i in found)
    assert ends == (~corpus.held_out).sum()


def test_cuts_are_at_line_ends_where_lines_fit(corpus, tokenizer):
    line_end = tokenizer.token_to_id("\n")
    longest = np.diff(np.flatnonzero(corpus.tokens == line_end)).max()
    found = pieces(epoch_rows(corpus, 0, 0, max(64, int(longest) + 2), Mix(1, 1)))
    assert all(i[-1] in (2, line_end) for i in found)


def test_batches_predict_the_next_token_of_the_same_piece(corpus):
    rows = epoch_rows(corpus, 0, 0, 64)
    batch = rows.batch(0, 8)
    for ids, labels, positions, piece in zip(*batch):
        for t in range(64):
            same = t + 1 < 64 and piece[t + 1] == piece[t] > 0
            assert labels[t] == (ids[t + 1] if same else -100)
            assert positions[t] == (0 if t == 0 or piece[t] != piece[t - 1] else positions[t - 1] + 1)


def test_same_seed_and_epoch_give_the_same_rows(corpus):
    a, b, c = (epoch_rows(corpus, s, e).ids for s, e in ((0, 1), (0, 1), (1, 1)))
    assert (a == b).all() and (a.shape != c.shape or (a != c).any())


def test_tokens_are_kept_and_damage_or_change_makes_them_anew(folder, tokenizer, tmp_path, monkeypatch):
    first = load_tokens(tokenizer, folder, tmp_path)
    (kept,) = tmp_path.glob("*.npz")
    with monkeypatch.context() as patch:
        patch.setattr(mixture, "_tokenize", None)
        again = load_tokens(tokenizer, folder, tmp_path)
    assert all(np.array_equal(getattr(first, f), getattr(again, f)) for f in ("tokens", "segment_start", "segment_unit", "document_start", "mixed", "held_out"))
    kept.write_bytes(kept.read_bytes()[:1000])
    assert np.array_equal(load_tokens(tokenizer, folder, tmp_path).tokens, first.tokens)
    other = make_corpus(tmp_path / "other", n=5, seed=1)
    assert load_tokens(tokenizer, other, tmp_path).digest != first.digest and len(list(tmp_path.glob("*.npz"))) == 2


def test_pieces_of_mixed_documents_are_weighted_as_mixed(tmp_path, tokenizer):
    write_shard(tmp_path / "mixed-000.parquet", [("a#1", "en", [("en", "dog")]), ("a#2", "ja", [("ja", "イヌ")])])
    assert load_tokens(tokenizer, tmp_path).mixed.all()


@pytest.mark.parametrize(
    ("lang", "n_chars", "message"),
    [("de", 3, "unknown language 'de'"), ("en", 9, "segments of document d make up 9 characters, its text has 3"), ("en", 2, "make up 2 characters")],
)
def test_wrong_segments_are_named(tmp_path, lang, n_chars, message):
    rows = {"doc_id": ["d"], "lang": ["en"], "text": ["dog"], "segments": [[{"lang": lang, "n_chars": n_chars}]]}
    pq.write_table(pa.table(rows), tmp_path / "en.parquet")
    with pytest.raises(ValueError, match=message):
        list(mixture.read_documents(tmp_path / "en.parquet"))


def test_damaged_shard_is_named(tmp_path):
    (tmp_path / "en.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match="en.parquet is damaged"):
        list(mixture.read_documents(tmp_path / "en.parquet"))


def test_context_out_of_range_and_negative_weights_are_refused(corpus):
    with pytest.raises(ValueError, match="context is 512"):
        epoch_rows(corpus, 0, 0, 512)
    with pytest.raises(ValueError, match="mixed is -1"):
        Mix(-1, 0)
