import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semantic_pivots import corpus
from semantic_pivots.cooccurrence import count_documents
from semantic_pivots.matching import Vocabulary
from semantic_pivots.task import LANGUAGES


@pytest.fixture
def folder(tmp_path):
    rows = [{"doc_id": f"{la}{i}", "source": "toy", "lang": la, "text": f"{la} {i} " * 20} for la in (*LANGUAGES, "mixed") for i in range(6)]
    table = pd.DataFrame(rows)
    table.iloc[::2].to_parquet(tmp_path / "part-0.parquet")
    table.iloc[1::2].to_parquet(tmp_path / "part-1.parquet")
    return tmp_path


def test_texts_are_of_every_language_and_no_mixed_ones(folder):
    texts = corpus.sample_texts(8, seed=1, folder=folder, min_chars=10)
    assert sorted(t[:2] for t in texts) == sorted([*LANGUAGES] * 2)
    assert texts == corpus.sample_texts(8, seed=1, folder=folder, min_chars=10)
    assert texts != corpus.sample_texts(8, seed=2, folder=folder, min_chars=10)


def test_overview_counts_documents_and_characters(folder):
    table = corpus.overview(folder)
    assert table.documents.sum() == 30 and set(table.lang) == {*LANGUAGES, "mixed"}
    assert table[table.lang == "en"].characters.sum() == sum(len(f"en {i} " * 20) for i in range(6))


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.parquet"):
        corpus.shards(tmp_path)


def test_a_damaged_shard_is_named_and_the_rest_is_read(folder):
    (folder / "part-1.parquet").write_bytes(b"PAR1 not so")
    with pytest.warns(UserWarning, match="part-1.parquet is damaged"):
        assert len(corpus.sample_texts(4, seed=1, folder=folder, min_chars=10)) == 4
    with pytest.warns(UserWarning, match="part-1.parquet is damaged"):
        assert corpus.overview(folder).documents.sum() == 15


def test_a_shard_that_is_gone_is_noticed(tmp_path):
    """Shards named by SHA256SUMS are listed, and counting names what it could not read."""
    pq.write_table(pa.table({"text": ["a cat"]}), tmp_path / "a.parquet")
    (tmp_path / "SHA256SUMS").write_text("00  a.parquet\n11  b.parquet\n")
    found = corpus.shards(tmp_path)
    assert [p.name for p in found] == ["a.parquet", "b.parquet"]
    counts = count_documents(found, Vocabulary(("cat.n",), ("en",), ((("cat",),),)))
    assert counts.n_docs == 1 and not counts.complete and counts.failed[0][0] == "b.parquet"
