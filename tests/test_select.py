import gzip
import json
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from semantic_pivots import ingest
from semantic_pivots import select as selecting
from semantic_pivots.ingest import SelectError, line_languages, read_corpus, read_words
from semantic_pivots.readers import CorpusError, corpus_files
from semantic_pivots.reconstruction import GraphSettings
from semantic_pivots.select import Selection, main, select

LANGS = ("en", "fr")
N_WORDS = 40


def word(lang, i):
    return f"{'mot' if lang == 'fr' else 'word'}{'abcdefghij'[i // 10]}{'klmnopqrst'[i % 10]}"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Words are tokens."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    """Word i of one language translates word i of the other; the first two are held out."""
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.csv"
    rows = [{"concept_id": f"c{i}", "en": word("en", i), "fr": word("fr", i), "split": "heldout" if i < 2 else "test"} for i in range(N_WORDS)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def toy_documents(n=120, seed=0, langs=LANGS):
    """Mixed documents hold words 0–19 with their translations; one-language documents the others."""
    random, documents = np.random.default_rng(seed), []
    for k in range(n):
        if k % 2 and len(langs) > 1:
            chosen = random.permutation(20)[:8]
            segments = [{"lang": la, "text": " ".join(word(la, i) for i in chosen)} for la in langs]
        else:
            la = langs[k // 2 % len(langs)]
            segments = [{"lang": la, "text": " ".join(word(la, i) for i in 20 + random.permutation(20)[:16])}]
        documents.append({"id": f"d{k}", "source": f"s{k % 3}", "license": "CC0-1.0", "text": "\n".join(s["text"] for s in segments), "segments": segments})
    return documents


def write(path, documents):
    path.write_text("\n".join(json.dumps(d, ensure_ascii=False) for d in documents) + "\n")
    return path


SETTINGS = Selection(budget=200, min_words=4, graph=GraphSettings(n_pivots=10, min_both=3, min_npmi=0.05, min_docs=3, max_share=0.9, max_source_share=1.0))


def run(corpus, out, lexicon, tokenizer, **changes):
    settings = Selection(**{**SETTINGS.__dict__, **changes})
    return select([corpus], out, lexicon, settings, tokenizer, "2026-01-01")


def test_a_set_is_made_from_a_corpus_it_has_never_seen(tmp_path, lexicon, tokenizer):
    corpus = write(tmp_path / "corpus.jsonl", toy_documents())
    ranked = run(corpus, tmp_path / "set", lexicon, tokenizer)
    chosen = ranked[ranked.selected]
    assert 184 < chosen.n_tokens.sum() <= 200 and ranked.score.is_monotonic_decreasing
    # words that meet their translation are the pivots, so mixed documents come first
    assert (chosen.langs == "en+fr").all() and (ranked.langs == "en").any()
    held = {f"{word(la, i)}" for la in LANGS for i in (0, 1)}
    documents = pq.read_table(tmp_path / "set" / "data").to_pandas()
    assert set(documents.id) == set(chosen.doc_id) and documents["rank"].min() == 1
    for text in documents.text:
        own = held & set(text.split())
        assert not {w.replace("mot", "word") for w in own if "mot" in w} & own, "a held-out word stands beside its translation"
    pivots = pd.read_csv(tmp_path / "set" / "pivots.csv")
    assert not set(pivots.word) & held and {"en", "fr"} == set(pivots.lang)
    assert not list(tmp_path.glob(".set*"))


def test_it_loads_with_datasets_and_as_dolma(tmp_path, lexicon, tokenizer):
    from datasets import load_dataset

    ranked = run(write(tmp_path / "corpus.jsonl", toy_documents()), tmp_path / "set", lexicon, tokenizer)
    loaded = load_dataset("parquet", data_files=str(tmp_path / "set" / "data" / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == ranked.selected.sum() and {"id", "text", "source", "license"} <= set(loaded.column_names)
    with gzip.open(tmp_path / "set" / "dolma" / "part-00000.jsonl.gz", "rt") as stream:
        lines = [json.loads(line) for line in stream]
    assert [line["id"] for line in lines] == loaded["id"][:] and all(set(line) == {"id", "text", "source", "added", "metadata"} for line in lines)
    assert lines[0]["metadata"]["license"] == "CC0-1.0" and lines[0]["added"] == "2026-01-01" and lines[0]["metadata"]["semantic_pivots"]["rank"]


def test_the_same_input_gives_the_same_bytes(tmp_path, lexicon, tokenizer):
    corpus = write(tmp_path / "corpus.jsonl", toy_documents())
    for name in ("a", "b"):
        run(corpus, tmp_path / name, lexicon, tokenizer)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 6 and all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_every_way_to_write_a_corpus_gives_the_same_documents(tmp_path):
    documents = toy_documents(20)
    for d in documents:
        d["metadata"] = {"license": d.pop("license")}
    (tmp_path / "p").mkdir()
    pd.DataFrame(documents).to_parquet(tmp_path / "p" / "a.parquet")
    (tmp_path / "j").mkdir()
    with gzip.open(tmp_path / "j" / "a.jsonl.gz", "wt") as stream:
        stream.write("\n".join(map(json.dumps, documents)))
    for name in "pj":
        read_corpus([next((tmp_path / name).iterdir())], tmp_path / f"{name}-made")
    a, b = (pd.read_parquet(next((tmp_path / f"{name}-made").iterdir())) for name in "pj")
    pd.testing.assert_frame_equal(a, b)
    assert (a.license == "CC0-1.0").all() and set(a.lang) == {"en", "fr", "mixed"}


def test_lines_are_told_apart_by_language():
    text = "The cat is on the table and it was there.\nLe chat est sur la table et il est dans la maison.\n桌子上有一只猫。\n12345"
    assert [la for la, _ in line_languages(text)] == ["en", "fr", "zh"]
    assert "\n".join(t for _, t in line_languages(text)) == text
    assert line_languages("猫が机の上にいる。\n日本") == [("ja", "猫が机の上にいる。\n日本")]
    assert line_languages("12345") == []
    assert line_languages("Über den Wolken") == []
    assert line_languages("El perro no está en la casa de los niños.\nThe dog is in the house.") == [("en", "The dog is in the house.")]


def test_wrong_input_is_named(tmp_path, lexicon, tokenizer, capsys):
    def fails(documents, match, **changes):
        corpus = write(tmp_path / "corpus.jsonl", documents)
        with pytest.raises(SelectError, match=match):
            run(corpus, tmp_path / "set", lexicon, tokenizer, **changes)
        assert not (tmp_path / "set").exists()

    good = toy_documents(60)
    fails(good, r"a budget of 1000000 tokens is more than the \d+ tokens of the \d+ documents", budget=1_000_000)
    fails(toy_documents(60, langs=("en",)), "all text is English: pivots link words of different languages")
    fails([*good, good[0]], "the id 'd0' occurs twice")
    fails([*good, {"id": "x", "body": "text"}], "line 61 has no field 'text' with a text; its fields are id, body")
    fails([*good, {"id": "x", "text": "a", "segments": [{"lang": "de", "text": "a"}]}], "a segment of language 'de'")
    fails([{"id": "x", "text": "12345"}], "1 documents and no text in English, French, Chinese, Japanese")
    fails(
        [{"id": i, "text": t, "lang": la} for i, (t, la) in enumerate([("one two three four", "en"), ("un deux trois quatre", "fr")])],
        "no document holds text of two languages",
    )
    (tmp_path / "corpus.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": ')
    with pytest.raises(CorpusError, match="corpus.jsonl: line 2 is no JSON"):
        run(tmp_path / "corpus.jsonl", tmp_path / "set", lexicon, tokenizer)
    with pytest.raises(CorpusError, match="nowhere is not there"):
        run(tmp_path / "nowhere", tmp_path / "set", lexicon, tokenizer)
    (tmp_path / "bad.csv").write_text("concept_id,en\nc,dog\n")
    with pytest.raises(SelectError, match="a lexicon needs concept_id and two of the columns en, fr, zh, ja"):
        read_words(tmp_path / "bad.csv", "heldout")
    assert main(["--corpus", str(tmp_path / "nowhere"), "--out", str(tmp_path / "set")]) == 1
    assert "error:" in capsys.readouterr().err


def test_a_folder_that_is_not_empty_is_refused(tmp_path, lexicon, tokenizer):
    corpus = write(tmp_path / "corpus.jsonl", toy_documents())
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(SelectError, match="is not an empty folder; nothing was written"):
        run(corpus, tmp_path / "set", lexicon, tokenizer)
    assert os.listdir(tmp_path / "set") == ["mine.txt"]
    (tmp_path / "set" / "mine.txt").unlink()
    assert run(corpus, tmp_path / "set", lexicon, tokenizer).selected.any()


def test_the_card_tells_licences_sources_and_what_is_missing(tmp_path, lexicon, tokenizer):
    documents = toy_documents()
    for d in documents[::3]:
        d.pop("license")
    documents += [
        {"id": f"plain{k}", "source": "plain", "license": "MIT", "lang": "en", "text": f"alpha beta gamma delta epsilon zeta {'abcdefgh'[k]}{'abcdefgh'[k]}x"}
        for k in range(8)
    ]
    documents.append({"id": "german", "lang": "de", "text": "ein Hund und eine Katze"})
    ranked = run(write(tmp_path / "corpus.jsonl", documents), tmp_path / "set", lexicon, tokenizer)
    card = (tmp_path / "set" / "README.md").read_text()
    assert (
        "40 documents of the corpus state none" in card
        and "in another language and were left out too: de 1." in card
        and "2 concepts of the lexicon were held out" in card
        and "| not stated |" in card
        and "| CC0-1.0 |" in card
    )
    assert "language:\n- en\n- fr\n" in card and "data_files: data/*.parquet" in card
    # documents without a pivot are ranked, told of, and come last
    without = ranked[ranked.pivot_share == 0]
    assert len(without) and f"{len(without)} of the documents that could be chosen hold no pivot" in card and not without.selected.any()
    settings = json.loads((tmp_path / "set" / "settings.json").read_text())
    assert settings["numbers"]["documents"] == len(documents) and settings["without_a_pivot"] == len(without)


def test_the_command_line(tmp_path, lexicon, tokenizer, capsys):
    corpus = write(tmp_path / "corpus.jsonl", toy_documents())
    options = ["--lexicon", str(lexicon), "--tokenizer", str(tokenizer), "--budget", "200", "--pivots", "paper", "--n-pivots", "10"]
    assert main(["--corpus", str(corpus), "--out", str(tmp_path / "set"), *options]) == 0
    assert "documents chosen" in capsys.readouterr().out and "linked with the most other words" in (tmp_path / "set" / "README.md").read_text()


def test_rules_that_are_too_strict_for_a_corpus_are_named_and_can_be_set(tmp_path, lexicon, tokenizer, capsys):
    corpus = write(tmp_path / "corpus.jsonl", toy_documents())
    options = ["--corpus", str(corpus), "--out", str(tmp_path / "set"), "--lexicon", str(lexicon), "--tokenizer", str(tokenizer), "--budget", "200"]
    assert main(options) == 1
    assert "min_docs 20" in capsys.readouterr().err and not (tmp_path / "set").exists()
    loose = ["--min-docs", "3", "--min-both", "3", "--min-npmi", "0.05", "--max-share", "0.9", "--max-source-share", "1"]
    assert main([*options, *loose]) == 0
    assert main([*options[:3], str(tmp_path / "other"), *options[4:], "--min-both", "0"]) == 1
    assert "min_both is 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, said",
    [
        ('{"text": "a"}\n{"text": 7}', "line 2 has no field 'text' with a text"),
        ('{"text": "a \\ud83d dog"}', "line 1 has a text that is no Unicode: 'a \\ud83d'"),
        ('[{"text": "a"}]', "line 1 is not a JSON object with the fields of a document but starts"),
        ('{"text": "a dog", "segments": [{"lang": "en"}]}', "has a segment with neither a text nor a number of characters"),
        ('{"text": "a dog", "segments": [{"lang": "xx", "n_chars": 5}]}', "has a segment of language 'xx'"),
        ('{"text": "a dog", "segments": ["en"]}', "has a segment of language 'en'"),
        (
            '{"text": "a dog\\nun chien", "segments": [{"lang": "en", "n_chars": 6}, {"lang": "fr", "n_chars": 8}]}',
            "make up 15 characters, with a line end between two, but its text has 14",
        ),
    ],
)
def test_wrong_documents_are_named(tmp_path, line, said):
    (tmp_path / "corpus.jsonl").write_text(line + "\n")
    with pytest.raises(SelectError, match=re.escape(said)):
        read_corpus([tmp_path / "corpus.jsonl"], tmp_path / "shards")


def test_languages_are_known_by_their_longer_codes_too(tmp_path):
    lines = [{"text": "a dog", "lang": "eng"}, {"text": "un chien", "lang": "fra_Latn"}, {"text": "狗", "lang": "cmn-Hans"}, {"text": "ein Hund", "lang": "de"}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    numbers = read_corpus([tmp_path / "corpus.jsonl"], tmp_path / "shards")
    assert pq.read_table(tmp_path / "shards").column("lang").to_pylist() == ["en", "fr", "zh"] and numbers["tagged de"] == 1


def test_lexicons_in_csv_and_their_splits(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("concept_id,en,fr,valid_en,valid_fr,split\ndog,dog,chien,dog|hound,chien,heldout\ncat,cat,chat,cat,chat,test\n")
    words, held = read_words(path, "heldout")
    assert held == ["dog"] and {"dog", "hound"} <= set(words.forms[0][0])
    with pytest.raises(SelectError, match="no concept has the split 'held' that is to be held out; there are heldout, test"):
        read_words(path, "held")


def test_a_budget_or_a_number_of_pivots_too_small_is_named(tmp_path, lexicon, tokenizer):
    corpus = write(tmp_path / "corpus.jsonl", toy_documents())
    with pytest.raises(SelectError, match="a budget of 1 tokens is less than the"):
        select([corpus], tmp_path / "set", lexicon, replace(SETTINGS, budget=1), tokenizer)
    with pytest.raises(SelectError, match="1 pivots for"):
        select([corpus], tmp_path / "set", lexicon, replace(SETTINGS, graph=replace(SETTINGS.graph, n_pivots=1)), tokenizer)
    assert not (tmp_path / "set").exists()


def test_packed_files_are_read_and_none_is_passed_over_in_silence(tmp_path):
    (tmp_path / "c" / "a").mkdir(parents=True)
    (tmp_path / "c" / ".cache").mkdir()
    documents = toy_documents(8)
    with pa.output_stream(str(tmp_path / "c" / "a" / "part-0.jsonl.zst"), compression="zstd") as stream:
        stream.write("\n".join(map(json.dumps, documents[:4])).encode())
    with gzip.open(tmp_path / "c" / "part-0.jsonl.gz", "wt") as stream:
        stream.write("\n".join(map(json.dumps, documents[4:])))
    write(tmp_path / "c" / ".cache" / "old.jsonl", documents)
    files = corpus_files([tmp_path / "c", tmp_path / "c" / "a"])
    assert [f.name for f in files] == ["part-0.jsonl.zst", "part-0.jsonl.gz"]
    assert read_corpus(files, tmp_path / "made")["documents"] == 8
    (tmp_path / "c" / "part-0.jsonl.gz.sha256").write_text("a checksum is no part of a corpus")
    assert corpus_files([tmp_path / "c"]) == sorted(files)
    (tmp_path / "c" / "b.jsonl.xz").write_bytes(b"")
    with pytest.raises(CorpusError, match="b.jsonl.xz cannot be read: known are .jsonl"):
        corpus_files([tmp_path / "c"])
    damaged = (tmp_path / "c" / "part-0.jsonl.gz").read_bytes()
    (tmp_path / "c" / "part-0.jsonl.gz").write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(CorpusError, match="part-0.jsonl.gz is damaged after line"):
        read_corpus([tmp_path / "c" / "part-0.jsonl.gz"], tmp_path / "half")


def test_documents_without_id_and_source_are_called_by_their_place(tmp_path):
    for name in ("wiki/part-0", "news/part-0"):
        (tmp_path / name).parent.mkdir()
        write(tmp_path / f"{name}.jsonl", [{"text": "the dog is here", "license": ["MIT", "CC0"]}, {"text": None}, {"text": "el perro", "lang": "Spanish"}])
    numbers = read_corpus(corpus_files([tmp_path / "news", tmp_path / "wiki"]), tmp_path / "made")
    assert numbers == {"documents": 6, "without text": 2, "tagged spanish": 2, "without licence": 0, "sources": 2}
    made = pq.read_table(tmp_path / "made").to_pandas()
    assert (
        made.doc_id.tolist() == ["news/part-0.jsonl#1", "wiki/part-0.jsonl#1"]
        and made.source.tolist() == ["news", "wiki"]
        and set(made.license) == {"MIT, CC0"}
    )


def test_a_few_lines_of_a_third_language_change_nothing(tmp_path, lexicon, tokenizer):
    documents = toy_documents(400)
    plain = run(write(tmp_path / "plain.jsonl", documents), tmp_path / "plain", lexicon, tokenizer)
    stray = {
        "id": "stray",
        "source": "s0",
        "license": "MIT",
        "segments": [{"lang": "zh", "text": "狗在这里"}, {"lang": "en", "text": word("en", 3)}],
        "text": "",
    }
    mixed = run(write(tmp_path / "mixed.jsonl", [*documents, stray]), tmp_path / "mixed", lexicon, tokenizer)
    assert plain[plain.selected].doc_id.tolist() == mixed[mixed.selected].doc_id.tolist()
    one = [d for d in toy_documents(400, langs=("en",))] + [stray]
    with pytest.raises(SelectError, match=r"of the documents hold English and 0.25% another language"):
        run(write(tmp_path / "one.jsonl", one), tmp_path / "one", lexicon, tokenizer)


def test_an_interrupted_selection_goes_on_with_what_it_has_read(tmp_path, lexicon, tokenizer, monkeypatch):
    monkeypatch.setattr(ingest, "SHARD", 50)
    corpus = write(tmp_path / "corpus.jsonl", toy_documents())
    expected = run(corpus, tmp_path / "whole", lexicon, tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(selecting, "take", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(corpus, tmp_path / "set", lexicon, tokenizer)
    assert not (tmp_path / "set").exists() and len(list(tmp_path.glob(".set.work/*/corpus/*"))) == 3
    with monkeypatch.context() as patch:
        patch.setattr(selecting, "read_corpus", lambda *a: pytest.fail("the corpus is read again"))
        with pytest.raises(SelectError, match="a budget of 1000000 tokens is more than"):
            run(corpus, tmp_path / "set", lexicon, tokenizer, budget=1_000_000)
        pd.testing.assert_frame_equal(run(corpus, tmp_path / "set", lexicon, tokenizer), expected)
    assert not list(tmp_path.glob(".set*"))


def test_what_the_corpus_says_of_a_document_is_kept(tmp_path, lexicon, tokenizer):
    documents = [d | {"url": f"https://example.org/{d['id']}", "added": "2020-02-02", "metadata": {"author": "A."}} for d in toy_documents()]
    run(write(tmp_path / "corpus.jsonl", documents), tmp_path / "set", lexicon, tokenizer)
    with gzip.open(tmp_path / "set" / "dolma" / "part-00000.jsonl.gz", "rt") as stream:
        line = json.loads(next(stream))
    assert line["added"] == "2020-02-02" and line["metadata"]["author"] == "A." and line["metadata"]["url"].endswith(line["id"])


def test_wrong_lexicons_are_named(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("concept_id,en,fr\ndog,dog,chien\ndog,dog,toutou\n")
    with pytest.raises(SelectError, match="the concept 'dog' stands twice"):
        read_words(path, "heldout")
    pd.DataFrame({"concept_id": ["dog"], "en": ["dog"], "fr": [None]}).to_parquet(tmp_path / "words.parquet")
    with pytest.raises(SelectError, match="'dog' has no word in the column fr, but None"):
        read_words(tmp_path / "words.parquet", "heldout")
    with pytest.raises(SelectError, match="none.csv: there is no lexicon"):
        read_words(tmp_path / "none.csv", "heldout")
