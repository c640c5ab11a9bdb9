"""The committed corpus, dictionary documents and held-out sentences keep the promises of data/README.md."""

import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
FILES = sorted((DATA / "corpus").glob("*.parquet"))
DICTIONARY = DATA / "corpus_dictionary.parquet"
HELDOUT = DATA / "heldout" / "parallel.parquet"
LANGUAGES = ("en", "fr", "zh", "ja")
COLUMNS = ["doc_id", "source", "lang", "text", "segments", "license"]
LICENCES = {
    "Apache-2.0",
    "CC-BY-2.0-FR",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-3.0 OR GPL-2.0-or-later",
    "CC-BY-SA-4.0",
    "GFDL-1.1-or-later",
    "GFDL-1.2-or-later",
    "GFDL-1.3-or-later",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-or-later",
    "GPL-3.0-or-later OR CC-BY-3.0",
    "LGPL-2.0-only OR LGPL-3.0-only",
    "LGPL-2.1-or-later",
    "MIT",
    "MIT OR Apache-2.0",
    "MPL-2.0",
    "free (various; see the packages' copyright files)",
    "public domain",
}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffd]")

sys.path.insert(0, str(DATA / "build"))
from deduplicate import Needles  # noqa: E402
from extract_base import fold  # noqa: E402
from tatoeba_sentences import numbers_of  # noqa: E402


@pytest.fixture(scope="module")
def corpus() -> pd.DataFrame:
    return pd.concat([pq.read_table(path).to_pandas() for path in FILES], ignore_index=True)


@pytest.fixture(scope="module")
def dictionary() -> pd.DataFrame:
    return pq.read_table(DICTIONARY).to_pandas()


@pytest.fixture(scope="module")
def heldout() -> pd.DataFrame:
    return pq.read_table(HELDOUT).to_pandas()


def section() -> str:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    return text.split("<!-- corpus:start -->")[1].split("<!-- corpus:end -->")[0]


def test_files_are_small():
    sizes = [path.stat().st_size for path in FILES]
    assert sizes and max(sizes) < 20e6
    assert sum(sizes) <= 45e6
    assert DICTIONARY.stat().st_size <= 8e6
    assert HELDOUT.stat().st_size < 50e6


@pytest.mark.parametrize("path", [*FILES, DICTIONARY], ids=lambda path: path.name)
def test_schema(path):
    assert pq.read_schema(path).names == COLUMNS
    assert all(pq.ParquetFile(path).metadata.row_group(0).column(i).compression == "ZSTD" for i in range(4))


def test_size_and_balance(corpus):
    characters = corpus.text.str.len()
    assert len(corpus) >= 60_000
    assert characters.sum() >= 60_000_000
    assert (characters.groupby(corpus.source).sum() / characters.sum()).max() <= 0.25
    assert set(corpus.lang) == {*LANGUAGES, "mixed"}


def test_ids_and_order(corpus, dictionary):
    assert pd.concat([corpus.doc_id, dictionary.doc_id]).is_unique
    keys = list(zip(corpus.lang, corpus.source, corpus.doc_id))
    for language in {*LANGUAGES, "mixed"}:
        own = [key for key in keys if key[0] == language]
        assert own == sorted(own)
    assert [path.stem for path in FILES] == sorted({*LANGUAGES, "mixed"})
    assert dictionary.source.str.startswith("dictionary:").all()
    assert not corpus.source.str.startswith("dictionary:").any()


def test_segments_cut_the_text(corpus, dictionary):
    for frame in (corpus, dictionary):
        for lang, text, segments in zip(frame.lang, frame.text, frame.segments):
            languages = {segment["lang"] for segment in segments}
            sizes = [segment["n_chars"] for segment in segments]
            assert min(sizes) > 0
            assert sum(sizes) + len(sizes) - 1 == len(text)
            assert languages <= set(LANGUAGES)
            if lang == "mixed":
                assert len(languages) >= 2
            else:
                assert languages == {lang} and len(segments) == 1
            place = 0
            for size in sizes[:-1]:
                place += size + 1
                assert text[place - 1] == "\n"


def test_texts_are_clean(corpus, dictionary):
    for frame in (corpus, dictionary):
        assert not frame.text.str.contains(CONTROL).any()
        assert (frame.text.str.strip() == frame.text).all()
        assert (frame.text != "").all()
    assert not corpus.duplicated("text").any()


def test_licences(corpus, dictionary):
    assert set(corpus.license) | set(dictionary.license) <= LICENCES


def test_every_license_has_its_text():
    elsewhere = {"CC-BY-2.0-FR", "MIT", "public domain", "free (various; see the packages' copyright files)"}  # an address, ../LICENSE, none, LICENSES.md
    for license_id in {part.removesuffix("-only").removesuffix("-or-later") for name in LICENCES - elsewhere for part in name.split(" OR ")} - elsewhere:
        assert (DATA / "licenses" / f"{license_id}.txt").stat().st_size > 1000, license_id
    assert "https://creativecommons.org/licenses/by/2.0/fr/" in (DATA / "LICENSES.md").read_text()


def test_corrected_licenses_name_documents(corpus, dictionary):
    documents = pd.concat([corpus, dictionary])
    for row in pd.read_csv(DATA / "licenses" / "corrections.tsv", sep="\t").itertuples():
        named = documents[documents.doc_id.str.startswith(row.prefix)]
        assert row.recorded in set(named.license) and row.recorded != row.correct, row.prefix


def test_a_sentence_of_several_numbers_is_the_one_that_its_translation_names():
    numbers = {"en": {"Hello.": [4, 7], "Yes.": [1, 2]}, "ja": {"やあ。": [7], "今日は。": [4]}}
    segments = [{"lang": "en", "n_chars": 11}, {"lang": "ja", "n_chars": 3}]
    assert numbers_of("Hello.\nYes.\nやあ。", segments, numbers) == [7, 1]
    with pytest.raises(KeyError, match="no sentence of Tatoeba: 'No.' \\(en\\)"):
        numbers_of("No.", [{"lang": "en", "n_chars": 3}], numbers)


def test_the_authors_of_every_tatoeba_document_can_be_found(corpus):
    numbers = pq.read_table(DATA / "licenses" / "tatoeba.parquet").to_pandas()
    assert set(numbers.doc_id) == set(corpus.doc_id[corpus.source == "tatoeba"])
    assert numbers.ja_sentence_ids.map(len).min() > 0


def test_heldout(heldout):
    assert list(heldout.columns) == ["sentence_id", "source", *LANGUAGES]
    assert len(heldout) >= 800
    assert heldout.sentence_id.is_unique
    for language in LANGUAGES:
        assert heldout[language].str.len().between(10, 400).all()
        assert heldout[language].map(fold).is_unique
        assert not heldout[language].str.contains(CONTROL).any()


def test_heldout_is_not_in_the_corpus(corpus, dictionary, heldout):
    needles = Needles({language: list(heldout[language]) for language in LANGUAGES})
    assert needles.find(["a", f"…{heldout.zh[5]}…", "b", heldout.fr[5].upper()]) == [False, True, False, True]
    for frame in (corpus, dictionary):
        assert [name for name, found in zip(frame.doc_id, needles.find(list(frame.text))) if found] == []


def test_readme_agrees(corpus, heldout):
    text = section()
    assert f"{len(corpus)} documents, {corpus.text.str.len().sum()} characters" in text
    assert f"{len(heldout)} distinct four-way sentences" in text
    for source, documents in corpus.source.value_counts().items():
        assert f"| {source} | {documents} |" in text
