"""Counts of a corpus of one's own: the same from any kind of file and in any number of parts, and refused where they cannot be right."""

import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semantic_pivots import cooccurrence, count
from semantic_pivots.matching import Vocabulary
from semantic_pivots.readers import CorpusError

TEXTS = [
    "a table and une table",
    "the heart, le cœur",
    None,
    "",
    "Tables of hearts",
    "心 table",
    "COEUR and heart \ud800 table",
    "school école",
    "table cœur",
    "学校 school",
]


@pytest.fixture(scope="module")
def lexicon():
    rows = [
        ("table.n", "n", "table", "table", "桌子", "机"),
        ("heart.n", "n", "heart", "cœur", "心", "心"),
        ("school.n", "n", "school", "école", "学校", "学校"),
    ]
    return pd.DataFrame(rows, columns=["concept_id", "pos", "en", "fr", "zh", "ja"]).set_index("concept_id", drop=False)


@pytest.fixture
def folder(tmp_path):
    """The same documents as one Parquet file and as JSON lines in three, packed and not."""
    (tmp_path / "parquet").mkdir()
    (tmp_path / "dolma" / "wiki").mkdir(parents=True)
    texts = [t if t is None else t.encode("utf-8", "replace").decode() for t in TEXTS]
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), tmp_path / "parquet" / "all.parquet")
    lines = [json.dumps({"id": str(i), "text": t, "source": "wiki"}) + "\n" for i, t in enumerate(TEXTS)]
    with gzip.open(tmp_path / "dolma" / "wiki" / "a.json.gz", "wt") as stream:
        stream.writelines(lines[:4])
    (tmp_path / "dolma" / "b.jsonl").write_text("".join(lines[4:7]) + "\n")
    with pa.output_stream(str(tmp_path / "dolma" / "c.jsonl.zst"), compression="zstd") as stream:
        stream.write("".join(lines[7:]).encode())
    return tmp_path


def counted(folder, lexicon, monkeypatch, out, *options):
    monkeypatch.setattr(count, "read_lexicon", lambda path: lexicon)
    return count.main(["--corpus", str(folder), "--out", str(out), "--processes", "1", *options])


def wanted(lexicon, folder):
    vocabulary = Vocabulary.from_lexicon(lexicon)
    return cooccurrence.cooccurrence_table(cooccurrence.count_documents(folder / "parquet", vocabulary), "corpus").assign(complete=True)


def test_files_of_any_kind_in_any_parts_give_the_same_counts(folder, lexicon, monkeypatch):
    """Three kinds of packing, one or three tables, against one Parquet file; and against what a reader counts in the texts above."""
    expected = wanted(lexicon, folder)
    row = expected[(expected.source_lang == "en") & (expected.target_lang == "fr")].set_index("concept_id")
    assert row.n_docs.eq(len(TEXTS)).all()
    assert row.n_source.tolist() == [4, 2, 2] and row.n_target.tolist() == [4, 3, 1] and row.n_both.tolist() == [4, 2, 1]
    for name in ("parquet", "dolma"):
        assert counted(folder / name, lexicon, monkeypatch, folder / f"{name}.parquet") == 0
        pd.testing.assert_frame_equal(cooccurrence.counts_from(folder / f"{name}.parquet", expected, lexicon), expected)
    for part in (1, 2, 3):
        assert counted(folder / "dolma", lexicon, monkeypatch, folder / "parts" / f"{part}.parquet", "--part", f"{part}/3") == 0
    pd.testing.assert_frame_equal(cooccurrence.counts_from(folder / "parts", expected, lexicon), expected)
    some = expected.iloc[5::7].reset_index(drop=True)
    pd.testing.assert_frame_equal(cooccurrence.counts_from(folder / "parts", some, lexicon), some)


def test_processes_and_what_was_kept_do_not_change_the_counts(folder, lexicon):
    files, vocabulary = sorted((folder / "dolma").glob("*.jsonl*")), Vocabulary.from_lexicon(lexicon)
    made = [count.count_files(files, vocabulary, folder / cache, processes) for cache, processes in (("one", 1), ("two", 2), ("two", 1))]
    assert [m.n_fresh for m in made] == [2, 2, 0]
    for other in made[1:]:
        assert (made[0].n_both == other.n_both).all() and made[0].n_docs == other.n_docs and made[0].n_null == other.n_null


def test_a_damaged_file_is_named_and_once_mended_alone_is_counted(folder, lexicon, monkeypatch, capsys):
    good = (folder / "dolma" / "b.jsonl").read_text()
    (folder / "dolma" / "b.jsonl").write_text(good[:-20])
    out = folder / "counts.parquet"
    assert counted(folder / "dolma", lexicon, monkeypatch, out) == 1
    assert "b.jsonl: line 3 is no JSON" in capsys.readouterr().err
    assert not pd.read_parquet(out).complete.any()
    assert not cooccurrence.counts_from(out, wanted(lexicon, folder), lexicon).complete.any()
    (folder / "dolma" / "b.jsonl").write_text(good)
    read = []
    plain = cooccurrence.shard_counts
    monkeypatch.setattr(cooccurrence, "shard_counts", lambda path, matcher: read.append(path.name) or plain(path, matcher))
    assert counted(folder / "dolma", lexicon, monkeypatch, out) == 0
    assert read == ["b.jsonl"] and pd.read_parquet(out).complete.all()


def test_a_line_without_a_text_is_an_error(folder, lexicon, monkeypatch, capsys):
    no_text = "line 2 has no field 'text' with a text"
    wrong = {'{"id": "x"}': no_text, '{"text": 3}': no_text, "[]": no_text, "9" * 5000: "line 2 is no JSON", "[" * 100_000: "line 2 is nested too deeply"}
    for line, message in wrong.items():
        (folder / "bad.jsonl").write_text('{"text": "table"}\n' + line + "\n")
        assert counted(folder / "bad.jsonl", lexicon, monkeypatch, folder / "counts.parquet") == 1
        assert f"bad.jsonl: {message}" in capsys.readouterr().err
        assert not (folder / "counts.parquet").exists()


@pytest.mark.parametrize("part", ["", "0/3", "4/3", "a/3", "3", "1/-2"])
def test_a_share_of_the_files_has_to_be_one(part):
    with pytest.raises(CorpusError, match=f"--part {part}: 3/64 would be"):
        count.share(["a", "b", "c"], part)


def test_shares_are_all_files_once(folder):
    files = [f"{i}.jsonl" for i in range(7)]
    assert sorted(f for i in (1, 2, 3) for f in count.share(files, f"{i}/3")[0]) == files
    assert count.share(files, "1/3")[1]["listing"] != count.share(files[1:], "1/3")[1]["listing"]
    with pytest.raises(CorpusError, match="there are only 7 files"):
        count.share(files, "8/8")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns="n_both"), "n_both is not there"),
        (lambda t: t.assign(n_both=t.n_both + 0.5), "the column n_both is not of whole numbers"),
        (lambda t: pd.concat([t, t.tail(1)]), "ja-zh 'school.n' stands twice"),
        (lambda t: t.assign(n_both=t.n_source + 1), "the counts of en-fr 'table.n' cannot be: n_docs 10, n_source 4"),
        (lambda t: t.assign(n_docs=1), "cannot be"),
        (lambda t: t.assign(n_docs=range(100, 100 + len(t))), "n_docs, the documents of the corpus, is not one number but 100 to 135"),
        (lambda t: t.assign(complete="no"), "the column complete is not of true and false but 'no'"),
        (lambda t: t.assign(n_target=t.n_target + (t.index == 0)), "the fr word of 'table.n' has 4 documents in one row and 5 in another"),
        (lambda t: t.assign(n_both=t.n_both - (t.index == 0)), "en-fr 'table.n' and the same the other way round do not meet in as many"),
        (lambda t: t.iloc[1:], "lacks 1 of 36 pairs, the first is en-fr 'table.n'"),
        (lambda t: t.assign(source_word=t.source_word.replace("table", "desk")), "counted 'desk' for table.n, but the lexicon has 'table'"),
    ],
)
def test_counts_that_cannot_be_right_are_refused(folder, lexicon, monkeypatch, change, message):
    expected = wanted(lexicon, folder)
    assert counted(folder / "parquet", lexicon, monkeypatch, folder / "counts.parquet") == 0
    change(pd.read_parquet(folder / "counts.parquet")).to_csv(folder / "counts.csv", index=False)
    with pytest.raises(ValueError, match=message):
        cooccurrence.counts_from(folder / "counts.csv", expected, lexicon)


def test_counts_that_are_not_there_are_named(folder, lexicon):
    (folder / "empty").mkdir()
    (folder / "text.parquet").write_text("no Parquet")
    for name, message in (
        ("none.parquet", "none.parquet: no counts can be read"),
        ("text.parquet", "no counts can be read"),
        ("empty", "empty holds no counts"),
    ):
        with pytest.raises(ValueError, match=message):
            cooccurrence.counts_from(folder / name, wanted(lexicon, folder), lexicon)


def test_a_folder_has_to_hold_every_share_once(folder, lexicon, monkeypatch):
    """Else a job that failed, or a table that lies there twice, would pass for the whole corpus."""
    expected, parts = wanted(lexicon, folder), folder / "parts"
    for part in (1, 3):
        counted(folder / "dolma", lexicon, monkeypatch, parts / f"{part}.parquet", "--part", f"{part}/3")

    def refused(message):
        with pytest.raises(ValueError, match=message):
            cooccurrence.counts_from(parts, expected, lexicon)

    refused("of 3 shares of the corpus, 1 are not there, the first is --part 2/3")
    with pytest.raises(ValueError, match="of 3 shares of the corpus, 2 are not there"):
        cooccurrence.counts_from(parts / "3.parquet", expected, lexicon)
    counted(folder / "dolma", lexicon, monkeypatch, parts / "2.parquet", "--part", "2/3")
    (parts / ".2-half.parquet").write_bytes((parts / "2.parquet").read_bytes()[:100])  # what a killed run can leave
    cooccurrence.counts_from(parts, expected, lexicon)
    pd.read_parquet(parts / "2.parquet").to_csv(parts / "again.csv", index=False)
    refused("share 2 of 3 is there twice")
    counted(folder / "parquet", lexicon, monkeypatch, parts / "2.parquet")
    (parts / "again.csv").unlink()
    refused("2.parquet counts a share of other files")
    pd.read_parquet(parts / "2.parquet").drop(columns="part").to_parquet(parts / "2.parquet")
    refused("2.parquet does not say which share")
    (parts / "notes.txt").write_text("x")
    refused("notes.txt is no table of counts")


def test_what_cannot_be_written_is_said_before_the_counting(folder, lexicon, monkeypatch, capsys):
    (folder / "file").write_text("")
    assert counted(folder / "dolma", lexicon, monkeypatch, folder / "file" / "counts.parquet") == 1
    assert "error: " in capsys.readouterr().err


def test_its_own_table_is_no_corpus(folder, lexicon, monkeypatch):
    for _ in range(2):
        assert counted(folder / "parquet", lexicon, monkeypatch, folder / "parquet" / "counts.parquet") == 0


def test_tags_of_other_languages_do_not_matter(folder, lexicon, monkeypatch):
    pq.write_table(pa.table({"text": ["a table"], "lang": ["eng"]}), folder / "tagged.parquet")
    assert counted(folder / "tagged.parquet", lexicon, monkeypatch, folder / "counts.parquet") == 0
