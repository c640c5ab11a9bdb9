"""The cuts against plain loops over documents, segments and words, and against every way to take a small document apart."""

import itertools
import random
import resource
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_pivots import severance
from semantic_pivots.artifacts import METADATA_KEY, ROOT
from semantic_pivots.fingerprint import sha256_file
from semantic_pivots.matching import Vocabulary, read_forms, surface_forms
from semantic_pivots.parting import bits, separate
from semantic_pivots.severance import EDGES, GROUPS, Triple, assign, collateral, eligible, experiment_edges, sever_corpus, severance_table
from semantic_pivots.task import LANGUAGES

KIND = pa.list_(pa.struct([("lang", pa.string()), ("n_chars", pa.int32())]))
SCHEMA = pa.schema(
    [("doc_id", pa.string()), ("source", pa.string()), ("lang", pa.string()), ("text", pa.string()), ("segments", KIND), ("license", pa.string())]
)
N = 16  # concepts of the toy lexicon; concept i is the word "en<letter>", plural with s, and so on
LETTERS = "abcdefghijklmnop"


def word(lang, i):
    return f"{lang}{LETTERS[i]}"


@pytest.fixture(scope="module")
def toy():
    table = pd.DataFrame({"concept_id": [f"c{i:02}.n" for i in range(N)], "pos": "n", "split": "test"})
    for lang in LANGUAGES:
        table[lang] = [word(lang, i) for i in range(N)]
        table[f"valid_{lang}"] = [[w] for w in table[lang]]
    return table.set_index("concept_id", drop=False)


@pytest.fixture(scope="module")
def forms(toy):
    return Vocabulary(tuple(toy.concept_id), tuple(LANGUAGES), tuple(tuple((word(la, i), word(la, i) + "s") for i in range(N)) for la in LANGUAGES))


def document(name, segments):
    """A row of a shard from (language, words) pairs."""
    texts = [" ".join(w) for _, w in segments]
    tags = {lang for lang, _ in segments}
    lengths = [{"lang": lang, "n_chars": len(t)} for (lang, _), t in zip(segments, texts)]
    lang = tags.pop() if len(tags) == 1 else "mixed"
    return {"doc_id": name, "source": "toy", "lang": lang, "text": "\n".join(texts), "segments": lengths, "license": "x"}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)


def random_documents(n, seed, n_concepts=N):
    lot = random.Random(seed)
    rows = []
    for number in range(n):
        segments = []
        for _ in range(lot.randint(1, 4)):
            concepts = lot.sample(range(n_concepts), lot.randint(0, 2))
            for lang in lot.sample(list(LANGUAGES), lot.randint(1, 4)):
                segments.append((lang, ["x"] + [word(lang, c) + lot.choice(["", "s"]) for c in concepts if lot.random() < 0.9]))
        rows.append(document(f"d{number}", segments))
    return rows


def segments_of(row):
    at, found = 0, []
    for part in row["segments"]:
        found.append((part["lang"], row["text"][at : at + part["n_chars"]]))
        at += part["n_chars"] + 1
    assert at == len(row["text"]) + 1
    return found


def holds(row, lang, i):
    """Plain search: whether a document holds a word in a segment of its language."""
    return any(la == lang and {word(lang, i), word(lang, i) + "s"} & set(text.split()) for la, text in segments_of(row))


def read(folder):
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def toy_assignment(toy, seed=0, n_blocks=None):
    counts = {f"n_{x}": np.arange(N) + 1 for x in ("source", "pivot", "target", "source_target", "source_pivot", "pivot_target")}
    return assign(pd.DataFrame({"concept_id": toy.concept_id.to_numpy(), "pos": "n", "triple": "fr-en-ja"} | counts), seed, n_blocks)


# Cutting


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), close_fourth=st.booleans(), match_dose=st.booleans())
def test_no_cut_edge_meets_and_no_text_is_lost(toy, forms, tmp_path_factory, seed, close_fourth, match_dose):
    folder = tmp_path_factory.mktemp("severance")
    rows = random_documents(60, seed)
    write(folder / "in" / "a.parquet", rows[:20])
    write(folder / "in" / "b.parquet", rows[20:])
    assignment = toy_assignment(toy, seed)
    log = sever_corpus(folder / "in", folder / "out", forms, assignment, seed, close_fourth, match_dose)
    after = read(folder / "out")
    place = {c: i for i, c in enumerate(forms.concept_ids)}
    edges = experiment_edges(assignment, close_fourth)
    cut = [(place[e.concept_id], e.first_lang, e.second_lang) for e in edges[edges.cut].itertuples()]
    for row in after:
        assert not [1 for i, a, b in cut if holds(row, a, i) and holds(row, b, i)]
    pieces = {}
    for row in after:
        pieces.setdefault(row["doc_id"].split("#")[0], []).append(row)
    assert list(pieces) == [row["doc_id"] for row in rows]
    for row in rows:
        own = pieces[row["doc_id"]]
        assert sum((Counter(segments_of(p)) for p in own), Counter()) == Counter(segments_of(row))
        if len(own) == 1:
            assert own == [row]
            continue
        order = segments_of(row)
        for number, piece in enumerate(own, 1):
            assert piece["doc_id"] == f"{row['doc_id']}#{number}"
            rest = iter(order)
            assert all(segment in rest for segment in segments_of(piece))  # in their order
            tags = {la for la, _ in segments_of(piece)}
            assert piece["lang"] == ("mixed" if len(tags) > 1 else tags.pop())
        if not match_dose:  # only documents with a meeting that must not be are touched
            assert [1 for i, a, b in cut if holds(row, a, i) and holds(row, b, i)]
    assert len(log) == sum(len(own) > 1 for own in pieces.values()) and (log.n_pieces == [len(pieces[d]) for d in log.doc_id]).all()
    assert (log[[f"moved_{la}" for la in LANGUAGES]].sum(axis=1) == log.n_moved).all()


def brute_force(n, cut):
    """The fewest pieces, by trying all colourings."""
    for k in range(1, n + 1):
        for colours in itertools.product(range(k), repeat=n):
            if all(not {colours[s] for s in bits(a)} & {colours[s] for s in bits(b)} for a, b in cut):
                return k
    raise AssertionError


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_document_is_taken_apart_into_the_fewest_pieces(data):
    n = data.draw(st.integers(2, 7))
    langs = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    masks = [sum(1 << s for s in range(n) if langs[s] == la) for la in range(4)]
    drawn = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**n - 1)), max_size=8))
    words = [(la, m & masks[la]) for la, m in drawn if m & masks[la]]
    pairs = [(a, b) for (x, a), (y, b) in itertools.combinations(words, 2) if x != y]
    chosen = data.draw(st.lists(st.sampled_from(pairs), max_size=5)) if pairs else []
    kept = [(a, b, 1.0) for a, b in pairs if (a, b) not in chosen]
    pieces = separate(n, chosen, kept, [m for _, m in words], masks, random.Random(0))
    assert sum(pieces) == 2**n - 1 and all(not p & q for p, q in itertools.combinations(pieces, 2))
    assert not [1 for a, b in chosen for p in pieces if a & p and b & p]
    assert len(pieces) == brute_force(n, chosen)
    assert [p.bit_count() for p in pieces] == sorted((p.bit_count() for p in pieces), reverse=True)


def test_a_cut_spares_words_that_may_meet():
    # segments en0 fr1 ja2 en3 fr4 ja5; fr1 and ja2 are to be parted, and fr1 belongs with en0, ja2 with nothing
    masks = [0b001001, 0b010010, 0, 0b100100]
    pieces = separate(6, [(0b10, 0b100)], [(0b1, 0b10, 1.0), (0b1000, 0b10000, 1.0), (0b10000, 0b100000, 1.0)], [], masks, random.Random(1))
    assert pieces == [0b111011, 0b100]
    # both Japanese segments hold the word: they go together
    pieces = separate(6, [(0b10010, 0b100100)], [], [0b10010, 0b100100], masks, random.Random(1))
    assert len(pieces) == 2 and all(m & p in (0, m) for m in (0b10010, 0b100100) for p in pieces)


def test_three_languages_that_must_not_meet_make_three_pieces_and_no_language_always_moves():
    masks, moved = [1, 2, 0, 4], Counter()
    for seed in range(300):
        pieces = separate(3, [(1, 2), (2, 4), (1, 4)], [], [1, 2, 4], masks, random.Random(seed))
        assert sorted(pieces) == [1, 2, 4]
        two = separate(2, [(1, 2)], [], [1, 2], masks, random.Random(seed))
        moved[two[0]] += 1
        four = separate(4, [(1, 2)], [], [1, 2], masks, random.Random(seed))
        moved["main", four[0] & 3] += 1
    assert min(moved["main", 1], moved["main", 2]) > 110


def test_long_documents_fall_back_to_one_piece_a_language():
    n = 1200
    masks = [sum(1 << s for s in range(la, n, 3)) for la in range(3)]
    pieces = separate(n, [(masks[0], masks[1]), (masks[1], masks[2]), (masks[0], masks[2])], [], [], masks, random.Random(0))
    assert sorted(pieces) == sorted(masks)


def test_words_of_a_cut_edge_in_one_segment_are_refused():
    with pytest.raises(ValueError, match="segment 1 holds both words"):
        separate(2, [(0b11, 0b10)], [], [], [0b01, 0b10], random.Random(0))


def test_the_same_arguments_give_the_same_bytes(toy, forms, tmp_path):
    write(tmp_path / "in" / "a.parquet", random_documents(40, 3))
    assignment = toy_assignment(toy)
    digests = []
    for name in ("one", "two"):
        sever_corpus(tmp_path / "in", tmp_path / name, forms, assignment.sample(frac=1, random_state=len(digests)), 5)
        digests.append(sha256_file(tmp_path / name / "a.parquet"))
    assert digests[0] == digests[1]
    facts = pq.read_schema(tmp_path / "one" / "a.parquet").metadata[METADATA_KEY].decode()
    assert severance.assignment_digest(assignment) in facts and '"seed": 5' in facts
    assert pq.read_schema(tmp_path / "one" / "a.parquet").equals(SCHEMA)
    sever_corpus(tmp_path / "in", tmp_path / "three", forms, assignment, 6)
    assert sha256_file(tmp_path / "three" / "a.parquet") != digests[0]


def test_full_loses_as_many_pivot_meetings_as_pivot_only(toy, forms, tmp_path):
    """One sentence in three languages a document: what is left of the two pivot edges must be the same in both groups."""
    assignment = toy_assignment(toy)
    group = dict(zip(assignment.concept_id, assignment.group))
    rows = [document(f"d{i}.{k}", [(la, ["x", word(la, i)]) for la in ("fr", "en", "ja")]) for i in range(N) for k in range(40)]
    write(tmp_path / "in" / "a.parquet", rows)
    left = {}
    for match in (False, True):
        sever_corpus(tmp_path / "in", tmp_path / str(match), forms, assignment, 0, match_dose=match)
        table = severance_table(tmp_path / "in", tmp_path / str(match), toy, forms, assignment)
        left[match] = table[~table.cut].set_index(["group", "edge"]).n_both_after
        assert (table.n_both_after[table.cut] == 0).all() and (table.n_both_base_after[table.cut] == 0).all()
        assert (table.n_first_after == table.n_first_before).all() and (table.n_second_after == table.n_second_before).all()
    assert sorted(Counter(group.values()).values()) == [4] * 4
    assert (left[False]["full"] == 40).all() and (left[True]["full", "source-target"] == 40).all() and (left[True]["direct_only"] == 40).all()
    for edge in ("source-pivot", "pivot-target"):
        assert (left[True]["full", edge] == 20).all()
        assert left[True]["pivot_only", edge].between(18, 22).all()


def test_the_table_counts_as_a_plain_loop(toy, forms, tmp_path):
    write(tmp_path / "in" / "a.parquet", random_documents(80, 11))
    assignment = toy_assignment(toy)
    sever_corpus(tmp_path / "in", tmp_path / "out", forms, assignment, 1)
    table = severance_table(tmp_path / "in", tmp_path / "out", toy, forms, assignment)
    assert len(table) == 4 * N and not table.duplicated(["concept_id", "edge"]).any()
    assert set(table.columns) >= {"concept_id", "group", "block", "triple", "edge", "cut", "n_both_anywhere_before", "n_both_anywhere_after"}
    for time, rows in (("before", read(tmp_path / "in")), ("after", read(tmp_path / "out"))):
        for e in table.to_dict("records"):
            i = forms.concept_ids.index(e["concept_id"])
            first, second = (sum(holds(row, e[side], i) for row in rows) for side in ("first_lang", "second_lang"))
            both = sum(holds(row, e["first_lang"], i) and holds(row, e["second_lang"], i) for row in rows)
            assert (e[f"n_first_{time}"], e[f"n_second_{time}"], e[f"n_both_{time}"]) == (first, second, both)
    losses = collateral(table)
    assert len(losses) == 6 and losses.kept.between(0, 1).all()


def test_strings_in_other_languages_are_reported(toy, forms, tmp_path):
    assignment = toy_assignment(toy)
    i = forms.concept_ids.index(assignment.concept_id[assignment.group == "none"].iloc[0])
    write(tmp_path / "in" / "a.parquet", [document("d", [("fr", [word("fr", i)]), ("zh", ["x", word("ja", i)])])])
    sever_corpus(tmp_path / "in", tmp_path / "out", forms, assignment, 1)
    table = severance_table(tmp_path / "in", tmp_path / "out", toy, forms, assignment).set_index(["concept_id", "edge"])
    row = table.loc[forms.concept_ids[i], "source-target"]
    assert (row.n_both_before, row.n_both_after, row.n_both_anywhere_before, row.n_both_anywhere_after) == (0, 0, 1, 1)


def test_bad_input(toy, forms, tmp_path):
    rows = [document("d7", [("fr", ["x"]), ("ja", ["y"])])]
    rows[0]["segments"][0]["n_chars"] = 5
    write(tmp_path / "in" / "a.parquet", rows)
    with pytest.raises(ValueError, match="a.parquet: the segments of d7 have 7 characters, its text has 3"):
        sever_corpus(tmp_path / "in", tmp_path / "out", forms, toy_assignment(toy), 0)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
    with pytest.raises(ValueError, match="cannot be cut in place"):
        sever_corpus(tmp_path / "in", tmp_path / "in", forms, toy_assignment(toy), 0)
    for name in ("fr-en", "fr-en-en", "fr-en-xx"):
        with pytest.raises(ValueError, match=f"'{name}' is not a triple"):
            Triple(name)


# Eligibility and assignment


def test_eligible_names_how_many_are_left(toy, forms, tmp_path):
    lexicon = toy.copy()
    lexicon.loc["c00.n", "split"] = "demo"
    changed = [list(own) for own in forms.forms]
    changed[list(LANGUAGES).index("zh")][1] = (word("ja", 1),)  # one string in two languages
    vocabulary = Vocabulary(forms.concept_ids, forms.languages, tuple(map(tuple, changed)))
    rows = [document(f"d{k}.{i}", [(la, [word(la, i)]) for la in LANGUAGES]) for i in range(N) for k in range(3 if i == 2 else 4)]
    rows += [document("e", [("en", [word("fr", 3)])])]  # a French word in English: 1 of 5 documents
    rows += [document(f"f{k}", [("en", [word("en", 4)])]) for k in range(10)]
    write(tmp_path / "in" / "a.parquet", rows)
    table, funnel = eligible(tmp_path / "in", lexicon, vocabulary, Triple("fr-en-ja"), max_docs=10)
    assert funnel.n.tolist() == [15, 14, 13, 12, 11] and funnel.condition[0] == "test split"
    assert table.concept_id.tolist() == [f"c{i:02}.n" for i in range(5, N)]
    assert (table[["n_source", "n_pivot", "n_target", "n_source_target", "n_source_pivot", "n_pivot_target"]] == 4).all(axis=None)
    assert len(eligible(tmp_path / "in", lexicon, vocabulary, Triple("fr-en-ja"), min_both_base=5)[0]) == 0
    open_fourth, _ = eligible(tmp_path / "in", lexicon, vocabulary, Triple("fr-en-ja"), max_contamination=0.2, close_fourth=False)
    assert {"c03.n", "c04.n"} <= set(open_fourth.concept_id)


def test_blocks_hold_one_concept_of_each_group_alike_in_part_of_speech_and_counts():
    random_counts = np.random.default_rng(0).lognormal(4, 1.5, (103, 4)).astype(int)
    names = ["n_source", "n_pivot", "n_target", "n_source_target"]
    concepts = pd.DataFrame(random_counts, columns=names).assign(
        concept_id=[f"c{i}" for i in range(103)], pos=["n"] * 70 + ["v"] * 30 + ["a"] * 3, triple="fr-en-ja"
    )
    table = assign(concepts, 1)
    assert len(table) == 68 + 28 and not table.concept_id.duplicated().any()
    assert (table.groupby("block").group.agg(tuple) == tuple(GROUPS)).all() and (table.groupby("block").pos.nunique() == 1).all()
    score = np.log1p(table[names]).mean(axis=1)
    assert score.groupby(table.block).std().mean() < score.std() / 5
    pd.testing.assert_frame_equal(table, assign(concepts.sample(frac=1, random_state=0), 1))
    assert (assign(concepts, 2).concept_id.tolist() != table.concept_id.tolist()) and len(assign(concepts, 1, 5)) == 20
    groups = pd.concat([assign(concepts, seed) for seed in range(80)])
    share = groups[groups.concept_id == "c1"].group.value_counts(normalize=True)
    assert len(share) == 4 and share.between(0.1, 0.42).all()
    twice = assign(pd.concat([concepts, concepts.assign(triple="en-fr-ja")]), 1)
    assert not twice.concept_id.duplicated().any() and set(twice.triple) == {"fr-en-ja", "en-fr-ja"}
    with pytest.raises(ValueError, match="99 blocks are asked for"):
        assign(concepts, 1, 99)
    with pytest.raises(ValueError, match="fill no block"):
        assign(concepts.head(3), 1)


def test_groups_cut_what_they_say(toy):
    edges = experiment_edges(toy_assignment(toy))
    cut = edges[edges.cut & edges.edge.isin(EDGES)].groupby("group").edge.agg(set).to_dict()
    assert cut == {g: set(e) for g, e in GROUPS.items() if e} and edges.cut[edges.edge == "source-fourth"].all()
    ends = edges.drop_duplicates("edge").set_index("edge")
    assert {e: (ends.first_lang[e], ends.second_lang[e]) for e in ends.index} == {
        "source-target": ("fr", "ja"),
        "source-pivot": ("fr", "en"),
        "pivot-target": ("en", "ja"),
        "source-fourth": ("fr", "zh"),
    }


# The committed forms


def test_forms_are_those_of_the_lexicon():
    path = ROOT / "data" / "forms.parquet"
    lexicon = pd.read_parquet(ROOT / "data" / "lexicon.parquet").set_index("concept_id", drop=False)
    vocabulary = read_forms(lexicon)
    assert path.stat().st_size < 1e6 and sha256_file(path) in (ROOT / "data" / "README.md").read_text()
    known = {(c, la): set(f) for la, own in zip(vocabulary.languages, vocabulary.forms) for c, f in zip(vocabulary.concept_ids, own)}
    for concept in lexicon.itertuples():
        for la in LANGUAGES:
            own = {f for w in getattr(concept, f"valid_{la}") for f in surface_forms(w, la, concept.pos)}
            assert own <= known[concept.concept_id, la] and (la != "zh" or own == known[concept.concept_id, la])
    expected = {
        ("write.v", "fr"): "écrit écrite écrivait",
        ("write.v", "en"): "wrote writing",
        ("write.v", "ja"): "書い 書か 書け",
        ("eye.n", "fr"): "yeux",
        ("beautiful.a", "ja"): "美しく 美しか",
    }
    for key, some in expected.items():
        assert set(some.split()) <= known[key], key


def test_forms_of_another_lexicon_are_refused(toy, tmp_path):
    path = tmp_path / "forms.parquet"
    pq.write_table(pa.table({"concept_id": ["c00.n"], "lang": ["en"], "forms": [["a"]]}), path)
    with pytest.raises(ValueError, match="words have no forms"):
        read_forms(toy, path)


def test_memory_stays_bounded(toy, forms, tmp_path):
    write(tmp_path / "in" / "a.parquet", random_documents(3000, 0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sever_corpus(tmp_path / "in", tmp_path / "out", forms, toy_assignment(toy), 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
