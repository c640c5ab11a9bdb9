import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from semantic_pivots import arms, comparison, reconstruction
from semantic_pivots.cooccurrence import npmi
from semantic_pivots.matching import Vocabulary
from semantic_pivots.mixture import TokenCorpus
from semantic_pivots.reconstruction import GraphSettings
from semantic_pivots.words import WordIndex

CODES = ("en", "fr", "zh", "ja")
LOOSE = GraphSettings(n_pivots=8, min_both=2, min_npmi=0.1, min_docs=2, max_share=1.0, max_source_share=1.0)


def make_index(dense, langs):
    words = tuple(f"{'abcdefghijklmnopqrstuvwxyz'[i]}oo" for i in range(dense.shape[1]))
    incidence = sparse.csr_array(dense.astype(np.uint8))
    incidence.sort_indices()
    return WordIndex(words, tuple(langs), tuple(f"d{i}" for i in range(len(dense))), incidence, dense.sum(1).astype(np.int64))


@pytest.fixture(scope="module")
def index():
    random = np.random.default_rng(1)
    return make_index(random.random((80, 20)) < random.uniform(0.05, 0.6, 20), np.repeat(CODES, 5))


def test_centrality_is_that_of_the_definition(index, monkeypatch):
    monkeypatch.setattr(reconstruction, "BLOCK", 3)
    dense = index.incidence.toarray().astype(int)
    blind, may = np.zeros(20, bool), np.ones(20, bool)
    blind[[2, 11]], may[[7, 16]] = True, False
    table = reconstruction.centrality(index, LOOSE, blind, may)
    for a in range(20):
        links = [b for b in range(20) if b != a and not blind[b] and (dense[:, a] & dense[:, b]).sum() >= 2]
        across = {}
        for b in links:
            both = (dense[:, a] & dense[:, b]).sum()
            weight = npmi(dense[:, a].sum(), dense[:, b].sum(), both, 80)
            if index.langs[a] != index.langs[b] and may[a] and may[b] and weight >= 0.1:
                across[b] = float(weight)
        row = table.iloc[a]
        if blind[a]:
            assert row.degree == row.cross_degree == row.strength == 0
        else:
            assert row.degree == len(links) and row.cross_degree == len(across)
            assert row.strength == pytest.approx(sum(across.values())) and row.n_langs == len({index.langs[b] for b in across})
    for la, words in reconstruction.linked_words(index, 0, LOOSE, may, 2).items():
        assert la != "en" and all(index.langs[index.words.index(w)] == la for w in words)


def test_equal_strings_are_no_translations():
    dense = np.tile([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], (10, 1))
    index = make_index(dense, ["en", "fr", "en", "fr"])
    alike = WordIndex(("linux", "linux", "dog", "chien"), index.langs, index.doc_ids, index.incidence, index.n_words)
    table = reconstruction.centrality(alike, LOOSE, np.zeros(4, bool), np.ones(4, bool))
    assert table.cross_degree.tolist() == [0, 0, 1, 1] and table.degree.tolist() == [1, 1, 1, 1]


def test_rules_leave_out_stop_words_boilerplate_and_what_is_no_word():
    dense = np.zeros((100, 6), int)
    dense[:, 0] = 1  # everywhere
    dense[:30, 1] = 1  # one source alone
    dense[::5, 2] = 1
    dense[::4, 3] = 1  # two letters
    dense[::4, 4] = 1  # a digit
    dense[:3, 5] = 1  # rare
    plain = make_index(dense, ["en"] * 6)
    index = WordIndex(("the", "krita", "water", "au", "x11", "rare"), plain.langs, plain.doc_ids, plain.incidence, plain.n_words)
    source = np.where(np.arange(100) < 50, "a", "b")
    rules = GraphSettings(min_docs=5, max_share=0.5, max_source_share=0.8)
    assert reconstruction.eligible(index, source, rules).tolist() == [False, False, True, False, False, False]
    # with one source there is no boilerplate to be told
    assert reconstruction.eligible(index, np.repeat("a", 100), rules)[1]
    assert reconstruction.source_share(index, source).tolist() == [0.5, 1.0, 0.5, pytest.approx(13 / 25), pytest.approx(13 / 25), 1.0]


def test_pivots_are_the_words_with_most_links(index):
    table = reconstruction.centrality(index, LOOSE, np.zeros(20, bool), np.ones(20, bool))
    paper = reconstruction.pivot_words(table, "paper", 5)
    assert paper.sum() == 5 and table.degree[paper].min() >= table.degree[~paper].max()
    ours = reconstruction.pivot_words(table, "npmi", 8)
    assert (table[ours].groupby("lang").size() <= 2).all() and (table.n_langs[ours] >= 2).all()
    assert set(table.lang[reconstruction.pivot_words(table, "npmi", 8, ("en",))]) == {"en"}
    with pytest.raises(ValueError, match="unknown kind of pivots 'x'"):
        reconstruction.pivot_words(table, "x", 5)
    with pytest.raises(ValueError, match="no word has a link to a word of another language"):
        reconstruction.pivot_words(table.assign(strength=0.0), "npmi", 5)
    with pytest.raises(ValueError, match="n_pivots is 0"):
        GraphSettings(n_pivots=0)


def test_shares_and_lengths(index):
    dense, pivots, blind = index.incidence.toarray().astype(bool), np.arange(20) % 3 == 0, np.arange(20) == 6
    share, count = reconstruction.pivot_share(index, pivots, blind)
    for row, s, n in zip(dense, share, count):
        known = row & ~blind
        assert n == known.sum() and (np.isnan(s) if n == 0 else s == pytest.approx((known & pivots).sum() / n))
    random = np.random.default_rng(0)
    count = random.integers(8, 200, 5000)
    share = random.binomial(count, 0.3) / count
    z = reconstruction.by_length(share, count, np.ones(5000, bool))
    top = np.argsort(-z)[:500]
    # the share itself prefers short documents; the standardised one does not
    assert np.median(count[np.argsort(-share)[:500]]) < 0.6 * np.median(count)
    assert abs(np.median(count[top]) / np.median(count) - 1) < 0.15
    # a document without words is last, one that is alone with its length in the middle
    assert reconstruction.by_length(np.array([np.nan, 0.5]), np.array([0, 4]), np.ones(2, bool)).tolist() == [-np.inf, 0.0]


def test_near_duplicates_are_found_and_alone_stay():
    random = np.random.default_rng(0)
    dense = random.random((60, 300)) < 0.15
    dense[50:] = dense[:10]
    dense[50:, 0] ^= True  # almost the same
    dense[20] = False
    twin = reconstruction.near_duplicates(sparse.csr_array(dense.astype(np.uint8)))
    assert twin[50:].tolist() == list(range(10)) and (twin[:50] == -1).all()
    assert (reconstruction.near_duplicates(sparse.csr_array((3, 5), dtype=np.uint8)) == -1).all()


def test_documents_table_reads_languages_and_refuses_double_ids(tmp_path):
    rows = [
        {"doc_id": f"d{i}", "source": "s", "text": "a\nb", "segments": [{"lang": x, "n_chars": 1} for x in pair]}
        for i, pair in enumerate((("en", "fr"), ("ja", "ja"), ("ja", "en")))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    table = reconstruction.read_documents_table(tmp_path)
    assert table.langs.tolist() == ["en+fr", "ja", "en+ja"] and table.n_chars.tolist() == [3, 3, 3] and (table.license == "").all()
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="1 documents have the id of an earlier one, the first is 'd0'"):
        reconstruction.read_documents_table(tmp_path)


# --- arms -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def setting():
    """A pool of documents with sources, languages and lengths, and scores."""
    random = np.random.default_rng(3)
    n = 3000
    documents = pd.DataFrame({"langs": random.choice(["en", "fr", "en+fr", "ja"], n, p=[0.4, 0.2, 0.3, 0.1]), "source": random.choice(list("abcd"), n)})
    documents["n_tokens"] = np.exp(random.normal(4, 0.6, n)).astype(int) + 5
    z = random.normal(size=n) + (documents.langs == "en+fr") + 0.5 * (documents.source == "a")
    scores = pd.DataFrame(
        {"pivot_npmi": z, "pivot_paper": random.random(n), "direct": np.where(documents.langs == "en+fr", random.random(n), -np.inf), "anti_pivot": -z}
    )
    scores["pivot_mixed"], scores["pivot_soft"] = scores.pivot_npmi, scores.pivot_npmi
    return documents, scores.assign(share_paper=random.random(n), share_npmi=random.random(n)), random.random(n) < 0.9


def test_arms_have_equal_tokens_and_their_own_documents(setting):
    documents, scores, pool = setting
    names = ["none", "random", "matched", "matched_paper", "bilingual", "direct", "pivot_paper", "pivot_npmi", "anti_pivot", "pivot_mixed", "pivot_soft"]
    chosen = arms.select_arms(names, documents, scores, pool, 20_000, 7)
    size = documents.n_tokens.to_numpy()
    assert list(chosen) == names[1:]
    for name, rows in chosen.items():
        assert 19_900 <= size[rows].sum() <= 20_000 and pool[rows].all() and len(set(rows)) == len(rows), name
    for name in ("bilingual", "direct", "pivot_mixed"):
        assert (documents.langs[chosen[name]] == "en+fr").all()
    best = np.sort(scores.pivot_npmi[pool])[::-1]
    assert scores.pivot_npmi[chosen["pivot_npmi"]].iloc[:100].tolist() == best[:100].tolist()
    assert scores.pivot_npmi.mean() < scores.pivot_npmi[chosen["pivot_soft"]].mean() < scores.pivot_npmi[chosen["pivot_npmi"]].mean()
    again = arms.select_arms(["random", "matched"], documents, scores, pool, 20_000, 7)
    assert all(np.array_equal(again[n], chosen[n]) for n in again), "an arm must not depend on which others are asked for"


def test_the_matched_arm_has_the_pivot_arms_languages_sources_and_lengths(setting):
    documents, scores, pool = setting
    chosen = arms.select_arms(["pivot_npmi", "matched", "random"], documents, scores, pool, 20_000, 7)
    assert not set(chosen["matched"]) & set(chosen["pivot_npmi"])

    def mix(rows, column):
        part = documents.iloc[rows]
        return part.groupby(column).n_tokens.sum() / part.n_tokens.sum()

    for column, near in (("langs", 0.01), ("source", 0.02)):
        a, b, c = (mix(chosen[n], column) for n in ("pivot_npmi", "matched", "random"))
        assert (a - b).abs().max() < near < (a - c).abs().max()
    lengths = [documents.n_tokens.iloc[chosen[n]].median() for n in ("pivot_npmi", "matched")]
    assert abs(lengths[0] / lengths[1] - 1) < 0.1


def test_draws_are_new_for_every_seed_and_what_is_ranked_stays(setting):
    documents, scores, pool = setting
    draws = arms.draw_arms(["random", "matched", "pivot_npmi"], documents, scores, pool, 20_000, 7, 3)
    assert all(
        np.array_equal(draws[0][n], rows) for n, rows in arms.select_arms(["random", "matched", "pivot_npmi"], documents, scores, pool, 20_000, 7).items()
    )
    for name in ("random", "matched"):
        assert len({tuple(d[name]) for d in draws}) == 3, name
    assert len({tuple(d["pivot_npmi"]) for d in draws}) == 1
    gaps = arms.match_distances(draws[0], documents)
    assert gaps.arm.tolist() == ["matched"] and (gaps[["langs", "source"]] < 0.02).all(axis=None)
    part = [documents.iloc[draws[0][n]].groupby("source").n_tokens.sum() for n in ("matched", "pivot_npmi")]
    assert gaps.source.item() == pytest.approx((part[0] / part[0].sum() - part[1] / part[1].sum()).abs().sum() / 2)


def test_wrong_arms_and_budgets_are_named(setting):
    documents, scores, pool = setting
    few = pool & (np.arange(len(pool)) < 500)
    with pytest.raises(ValueError, match=r"matched: only \d+ tokens can be drawn beside the \d+ of the arm to match"):
        arms.select_arms(["matched"], documents, scores, few, int(0.8 * documents.n_tokens[few].sum()), 0)
    with pytest.raises(ValueError, match="unknown arm 'pivots'"):
        arms.select_arms(["pivots"], documents, scores, pool, 1000, 0)
    with pytest.raises(ValueError, match=r"direct: a budget of 10000000 tokens is more than the \d+ tokens of the \d+ documents"):
        arms.select_arms(["direct"], documents, scores, pool, 10_000_000, 0)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_take_fills_a_budget(sizes, budget):
    sizes = np.array(sizes)
    if sizes.sum() < budget:
        with pytest.raises(ValueError, match="a budget of"):
            arms.take(np.arange(len(sizes)), sizes, budget)
        assert len(arms.take(np.arange(len(sizes)), sizes, budget, loose=True)) == len(sizes)
        return
    chosen = arms.take(np.arange(len(sizes)), sizes, budget)
    left = np.setdiff1d(np.arange(len(sizes)), chosen)
    assert sizes[chosen].sum() <= budget and len(set(chosen)) == len(chosen)
    assert not len(left) or sizes[left].min() > budget - sizes[chosen].sum()


def test_meetings_are_counted_exactly_and_a_pool_without_them_has_none():
    random = np.random.default_rng(5)
    forms = Vocabulary(("a", "b", "c"), ("en", "fr", "ja"), ((("x",),) * 3,) * 3)
    dense = random.random((200, 9)) < 0.2
    incidence = sparse.csc_array(dense)
    counts = arms.meeting_counts(incidence, forms).set_index(["concept_id", "first", "second"]).n_both
    documents = np.zeros(200, int)
    for (i, a), (j, b) in itertools.combinations(enumerate(forms.languages), 2):
        for k, concept in enumerate(forms.concept_ids):
            together = dense[:, 3 * i + k] & dense[:, 3 * j + k]
            assert counts[concept, a, b] == together.sum()
            documents += together
    assert arms.meeting_documents(incidence, forms).tolist() == documents.tolist()
    part, words = arms.of_concepts(incidence, forms, ["c", "a"])
    assert words.concept_ids == ("c", "a")
    assert arms.meeting_counts(part, words).set_index(["concept_id", "first", "second"]).n_both.to_dict() == {k: v for k, v in counts.items() if k[0] != "b"}
    pool, funnel = arms.pool_funnel([("odd", np.arange(200) % 2 == 1), ("no pair", documents == 0)], np.full(200, 3))
    assert arms.meeting_counts(incidence, forms, np.flatnonzero(pool)).n_both.sum() == 0
    assert funnel.documents.tolist() == [200, 100, pool.sum()] and funnel.tokens.tolist() == [600, 300, 3 * pool.sum()]


def test_placebo_words_are_as_many_as_the_pivots_in_each_language_and_as_frequent():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"lang": random.choice(["en", "fr"], 4000), "n_docs": np.exp(random.uniform(3, 8, 4000)).astype(int)})
    may, pivots = random.random(4000) < 0.8, np.zeros(4000, bool)
    pivots[random.choice(np.flatnonzero(may & (table.n_docs > 200)), 300, replace=False)] = True
    drawn = [reconstruction.placebo_words(table, pivots, may, seed) for seed in (0, 0, 1)]
    assert np.array_equal(*drawn[:2]) and not np.array_equal(*drawn[1:])
    for words in drawn:
        assert not (words & (pivots | ~may)).any()
        for la in ("en", "fr"):
            own, other = (np.sort(np.log(table.n_docs[w & (table.lang == la)])) for w in (pivots, words))
            assert len(own) == len(other) and np.abs(own - other).max() < 0.2
    with pytest.raises(ValueError, match="en: only .* words can stand in for"):
        reconstruction.placebo_words(table, pivots, pivots, 0)


def test_placebo_arms_are_chosen_anew_for_every_seed(setting):
    documents, scores, pool = setting

    def placebo(seed):
        value = np.random.default_rng(seed).random(len(documents))
        return {"pivot_placebo": value, "share_placebo": value}

    names = ["pivot_placebo", "matched_placebo", "pivot_npmi"]
    first, second = arms.draw_arms(names, documents, scores, pool, 20_000, 7, 2, placebo)
    assert np.array_equal(first["pivot_npmi"], second["pivot_npmi"]) and not set(first["matched_placebo"]) & set(first["pivot_placebo"])
    for seed, drawn in ((7, first), (8, second)):
        value = placebo(seed)["pivot_placebo"]
        assert value[drawn["pivot_placebo"]].mean() > value[pool].mean() + 0.2
    assert comparison.matched_name("pivot_placebo") == "matched_placebo"
    with pytest.raises(ValueError, match="unknown arm 'pivot_placebo'"):
        arms.draw_arms(names, documents, scores, pool, 20_000, 7, 1)
    by_lang = np.zeros((len(documents), 4), int)
    by_lang[:, 0] = documents.n_tokens
    table = arms.composition(first, documents, by_lang, scores.assign(**placebo(7))).set_index("arm")
    assert table.pivots_placebo["pivot_placebo"] > table.pivots_placebo["pivot_npmi"]


def test_composition_and_overlap(setting):
    documents, scores, pool = setting
    chosen = arms.select_arms(["random", "pivot_npmi"], documents, scores, pool, 20_000, 7)
    by_lang = np.zeros((len(documents), 4), int)
    by_lang[:, 0] = documents.n_tokens
    table = arms.composition(chosen, documents, by_lang, scores).set_index("arm")
    assert (table.share_en == 1).all() and table.documents["random"] == len(chosen["random"]) and table.n_sources["random"] == 4
    shared = arms.overlap(chosen, documents.n_tokens.to_numpy())
    common = list(set(chosen["random"]) & set(chosen["pivot_npmi"]))
    assert shared.loc["random", "random"] == 1
    assert shared.loc["random", "pivot_npmi"] == pytest.approx(documents.n_tokens.iloc[common].sum() / documents.n_tokens.iloc[chosen["random"]].sum())
    assert [arms._matched_to(comparison.matched_name(a)) for a in ("pivot_npmi", "pivot_paper")] == ["pivot_npmi", "pivot_paper"]


def test_tokens_are_counted_by_language():
    tokens = TokenCorpus(
        np.arange(10, dtype=np.uint16), np.array([0, 3, 5, 10]), np.array([0, 1, 0], np.uint8), np.array([0, 0, 1], np.int32), np.array([0, 2, 2, 3]),
        np.zeros(3, bool), np.zeros(3, bool), "", (0, 1, 2, 3),
    )  # fmt: skip
    assert reconstruction.token_counts(tokens).tolist() == [[3, 2, 0, 0], [0, 0, 0, 0], [5, 0, 0, 0]]
