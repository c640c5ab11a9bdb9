"""Masses of token sets against a plain softmax over the whole vocabulary, matched controls, similarity, and what the masses explain."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from semantic_pivots import artifacts, attribution, lens, pivot_evidence, pivot_layers, report_pivots, task
from semantic_pivots.models import LanguageModel
from semantic_pivots.pivot_controls import TokenFacts, draw_controls, matchable, matched_tokens, token_facts
from semantic_pivots.pivot_layers import GROUPS, MIDDLE, SHARED, TokenSets, layer_mass, pivot_tokens, similarity, token_sets, word_vectors
from semantic_pivots.words import WordIndex


@pytest.fixture(scope="module")
def residuals():
    return torch.randn(6, 3, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def sets():
    """Six items; the last has no pivots."""
    random = np.random.default_rng(0)
    ids = [random.permutation(np.arange(3, 150)) for _ in range(6)]
    pivot = [np.sort(i[4 : 4 + n]) for i, n in zip(ids, (5, 3, 4, 1, 6, 0))]
    group = [random.integers(0, len(GROUPS), len(p)) for p in pivot]
    return TokenSets([i[:2] for i in ids], [i[2:4] for i in ids], pivot, group, [i[:4] for i in ids])


READ = [5, 5, 5, 7, 7, 7]


@pytest.fixture(scope="module")
def neighbors(sets):
    random = np.random.default_rng(2)
    return {int(t): random.choice(np.arange(150, 400), 12, replace=False) for p in sets.pivot for t in p}


def test_masses_equal_those_of_a_plain_softmax(tiny_model, residuals, sets, neighbors):
    table = layer_mass(tiny_model, residuals, READ, sets, neighbors, [1, 2], 40)
    p = {"raw": torch.stack([lens.lens_logits(tiny_model, residuals[:, layer]).softmax(-1) for layer in range(3)], 1).double().numpy()}
    p["corrected"] = p["raw"].copy()
    for token in set(READ):
        rows = np.flatnonzero(np.array(READ) == token)
        p["corrected"][rows] = np.maximum(p["raw"][rows] - p["raw"][rows].mean(0), 0)
    for name in p:
        p[name] = np.concatenate([p[name], p[name][:, 1:].mean(1, keepdims=True)], 1)
    assert len(table) == 6 * 4 * 2
    for row in table.to_dict("records"):
        own, i = p[row["lens"]][row["item"], row["layer"]], row["item"]  # layer -1 is the mean that was appended
        for name in ("source", "target", "pivot"):
            assert row[f"mass_{name}"] == pytest.approx(own[getattr(sets, name)[i]].sum(), abs=1e-6)
        assert sum(row[f"mass: {g}"] for g in GROUPS) == pytest.approx(row["mass_pivot"], abs=1e-6)
        assert sum(row[f"control: {g}"] for g in GROUPS) == pytest.approx(row["mass_control"], abs=1e-6)
        assert [row[f"n: {g}"] for g in GROUPS] == [(sets.group[i] == k).sum() for k in range(len(GROUPS))]
        clear = own.copy()
        clear[np.concatenate([sets.source[i], sets.target[i]])] = 0
        others = [clear[ids].sum() for j, ids in enumerate(sets.pivot) if j != i and len(ids)]
        assert (row["mass_shuffled"], row["shuffled_sd"]) == pytest.approx((np.mean(others), np.std(others, ddof=1)), abs=1e-6)
        if row["n_tokens"]:
            assert row["p_shuffled"] == pytest.approx((1 + (np.array(others) >= row["mass_pivot"] - 1e-12).sum()) / (1 + len(others)))
        if row["item"] == 5:
            assert (
                row["n_tokens"] == 0
                and row["mass_pivot"] == row["mass_control"] == 0
                and np.isnan([row["z"], row["p_control"], row["z_shuffled"], row["p_shuffled"]]).all()
            )
        elif row["control_sd"] > 0:
            assert row["z"] == pytest.approx((row["mass_pivot"] - row["mass_control"]) / row["control_sd"], abs=1e-3)
            assert 1 / 41 <= row["p_control"] <= 1


def test_control_mass_is_that_of_drawn_neighbors(tiny_model, residuals, sets):
    """With a single neighbor a token, control sets are known: their mass is the neighbors', and does not vary."""
    near = {int(t): np.array([200 + t]) for p in sets.pivot for t in p}
    table = layer_mass(tiny_model, residuals, READ, sets, near, [0], 5)
    raw = lens.lens_logits(tiny_model, residuals[:, 2]).softmax(-1).numpy()
    last = table[(table.layer == 2) & (table.lens == "raw")]
    assert last.mass_control.to_numpy() == pytest.approx([raw[i, 200 + own].sum() for i, own in enumerate(sets.pivot)], abs=1e-6)
    assert last.control_sd.max() < 1e-7 and last.z.isna().all()


def scaled(lm, factor):
    network = copy.deepcopy(lm.network)
    lm = LanguageModel("test:scaled", lm.checksum, network, lm.tokenizer, lm.dtype, lm.device)
    with torch.no_grad():
        lm.unembedding.mul_(factor).add_(0.3)  # a scale, and a part that all rows share
    return lm


@pytest.mark.parametrize("family_model", ["llama", "gemma3_text", "gpt_neox"], indirect=True)  # gemma's is tied, and its embedding scaled
def test_similarity_knows_neither_scale_nor_shared_part_of_the_unembedding(family_model, lexicon):
    rows = [("dog", "en", "chien", "fr", "犬", "ja"), ("chat", "fr", "cat", "en", "猫", "zh"), ("cat", "en", "cat", "en", "cat", "en")]
    pivots = pd.DataFrame(rows, columns=["pivot", "lang", "word_a", "lang_a", "word_b", "lang_b"])
    plain = similarity(family_model, lexicon, pivots)
    assert similarity(scaled(family_model, 7.0), lexicon, pivots) == pytest.approx(plain, abs=1e-4)
    assert plain[2] == pytest.approx(1, abs=1e-5) and (np.abs(plain[:2]) < 1).all()
    assert len(similarity(family_model, lexicon, pivots[:0])) == 0
    means = {la: word_vectors(family_model, lexicon[la].tolist()).mean(0) for la in ("en", "fr", "ja")}
    vectors = [word_vectors(family_model, [w])[0] - means[la] for w, la in (("dog", "en"), ("chien", "fr"), ("犬", "ja"))]
    cosines = [vectors[0] @ v / np.linalg.norm(vectors[0]) / np.linalg.norm(v) for v in vectors[1:]]
    assert plain[0] == pytest.approx(np.mean(cosines), abs=1e-5)


def test_pivot_tokens_are_whole_words_or_telling_pieces(tiny_model):
    found = pivot_tokens(tiny_model, ["en", "犬", "犬小屋", "chien"])
    names = {w: {tiny_model.tokenizer.decode([i]).strip() for i in ids} for w, ids in found.items()}
    assert names["en"] == {"en"} and names["犬"] == names["犬小屋"] == {"犬"}
    assert found["chien"] == ()  # a letter is too little of "chien"


def test_token_sets_leave_the_two_words_out(tiny_model):
    table = pd.DataFrame({"concept_id": ["cat.n"], "en": ["en"], "fr": ["chat"], "zh": ["猫"], "ja": ["猫"]}).set_index("concept_id", drop=False)
    table = table.assign(**{f"valid_{la}": [[table.at["cat.n", la]]] for la in ("en", "fr", "zh", "ja")})
    ids = {w: pivot_tokens(tiny_model, [w])[w] for w in ("en", "犬", "猫")}
    assert all(ids.values())
    rows = [
        ("English associate", ids["犬"]),
        ("third-language associate", ids["犬"]),
        ("English translation", ids["en"]),
        ("third-language associate", ids["猫"]),
    ]
    pivots = pd.DataFrame(rows, columns=["type", "pivot_ids"]).assign(concept_id="cat.n")
    sets = token_sets(tiny_model, table, ("fr", "ja"), ["cat.n", "cat.n"], pivots)
    assert set(sets.pivot[0]) == {*ids["犬"], *ids["en"]}  # 猫 is the target
    assert [GROUPS[g] for i, g in zip(sets.pivot[0], sets.group[0]) if i in ids["犬"]] == ["English associate"] * len(ids["犬"])
    both = pivots.head(2).assign(type=["third-language translation", "English translation"])
    both = token_sets(tiny_model, table, ("fr", "ja"), ["cat.n"], both)
    assert len(both.group[0]) == len(ids["犬"]) > 0 and {GROUPS[g] for g in both.group[0]} == {SHARED}  # it cannot tell the two languages apart
    assert set(ids["en"]) <= set(sets.concept[0]) and set(ids["猫"]) <= set(sets.target[0])


def test_matched_tokens_are_the_nearest_of_their_script():
    random = np.random.default_rng(0)
    facts = TokenFacts(random.integers(-1, 3, 500), random.exponential(2, 500), random.normal(5, 1, 500))
    wanted = np.flatnonzero(facts.script >= 0)[:40]
    near = matched_tokens(facts, wanted, 7, 10_000, 0)
    for token, found in zip(wanted, near):
        same = np.flatnonzero(facts.script == facts.script[token])
        group = wanted[facts.script[wanted] == facts.script[token]]
        distance = sum(((v[same] - v[token]) / v[group].std()) ** 2 for v in (facts.log_frequency, facts.norm))
        expected = [t for t in same[np.argsort(distance)] if t != token][:7]
        assert found.tolist() == expected
    with pytest.raises(ValueError, match="can be controls"):
        matched_tokens(facts, wanted, 400, 10_000, 0)
    sizes = np.array([(facts.script == s).sum() for s in facts.script])
    assert sizes.min() < sizes.max() and (matchable(facts, int(sizes.min())) == (sizes > sizes.min())).all()


def test_control_sets_hold_no_word_of_the_concept_and_no_token_twice():
    random = np.random.default_rng(0)
    neighbors = np.stack([random.choice(60, 20, replace=False) for _ in range(8)])
    drawn = draw_controls(neighbors, [3, 5, 7], 300, random)
    assert drawn.shape == (300, 8) and not np.isin(drawn, [3, 5, 7]).any()
    assert all(set(column) <= set(near) for column, near in zip(drawn.T, neighbors))
    assert all(len(set(row)) == 8 for row in drawn)
    counts = np.array([np.mean(drawn[:, 0] == t) for t in neighbors[0] if t not in (3, 5, 7)])
    assert counts.min() > 0  # every allowed neighbor is drawn


def test_token_facts(tiny_model):
    index = WordIndex(
        ("cat", "cats", "dog", "犬"),
        ("en", "en", "en", "ja"),
        ("a", "b", "c"),
        sparse.csr_array(np.array([[1, 1, 0, 1], [1, 0, 1, 0], [1, 0, 0, 0]], np.uint8)),
        np.ones(3),
    )
    facts = token_facts(tiny_model, index)
    at = tiny_model.tokenizer.convert_tokens_to_ids
    assert np.expm1(facts.log_frequency[at("▁cat")]) == pytest.approx(4) and np.expm1(facts.log_frequency[at("犬")]) == pytest.approx(1)
    assert facts.script[at("▁cat")] == 1 and facts.script[at("chien")] == 0 and facts.script[at("犬")] == 2
    assert facts.script[at(":")] == facts.script[at("<bos>")] == facts.script[at("<0x41>")] == -1
    assert facts.norm == pytest.approx(tiny_model.unembedding.norm(dim=1).numpy())


def test_a_direction_is_traced_once(tiny_model, lexicon, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    concepts = lexicon.concept_id[:8].tolist()
    prompts = {("en", "fr"): task.build_prompts(lexicon, ("en", "fr"), 1, 0)[0]}
    pivots = pd.DataFrame(
        {"source_lang": "en", "target_lang": "fr", "concept_id": concepts[:4], "type": "English associate", "pivot_ids": [[290], [291, 292], [293], [290]]}
    )
    facts = TokenFacts(np.ones(400, int), np.ones(400), np.arange(400.0))
    settings = pivot_layers.Controls(n_sets=10, n_neighbors=5, pool_size=300)
    arguments = (tiny_model, lexicon, prompts, concepts, pivots, facts, [1], artifacts.Store("test"), settings)
    first = pivot_layers.trace_mass(*arguments)
    monkeypatch.setattr(pivot_layers, "answer_residuals", lambda *a: pytest.fail("traced again"))
    pd.testing.assert_frame_equal(pivot_layers.trace_mass(*arguments), first)
    assert len(first) == 8 * 2 * (tiny_model.n_layers + 1) and set(artifacts.SCHEMAS["pivot_mass"]) <= set(first)
    assert (first.n_tokens > 0).sum() == 4 * 2 * (tiny_model.n_layers + 1)


# --- what the masses explain ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mass():
    """Two directions, forty concepts; pivots have three times the mass of their controls, English translations all of the rest."""
    random, rows = np.random.default_rng(0), []
    for pair in (("fr", "ja"), ("en", "fr")):
        for c in range(40):
            for layer in (0, MIDDLE):
                row = {"source_lang": pair[0], "target_lang": pair[1], "concept_id": f"c{c}", "layer": layer, "lens": "corrected", "n_tokens": 3 * (c > 0)}
                row |= {"mass_source": 0.1, "mass_target": 0.2, "mass_control": 0.1, "control_sd": 0.02, "mass_shuffled": 0.05, "shuffled_sd": 0.01}
                values = {g: 0.0 for g in GROUPS} | {"English translation": 0.2 + 0.01 * random.normal(), "third-language translation": 0.1}
                row |= {f"mass: {g}": v for g, v in values.items()} | {f"n: {g}": int(v > 0) for g, v in values.items()}
                row |= {f"control: {g}": 0.05 * (v > 0) for g, v in values.items()} | {f"sd: {g}": 0.01 * (v > 0) for g, v in values.items()}
                rows.append(
                    row
                    | {
                        "mass_pivot": sum(values.values()),
                        "z": 10.0,
                        "z_shuffled": 20.0,
                        "p_control": 0.01 if c % 2 else 0.5,
                        "p_shuffled": 0.01 if c % 4 == 1 else 0.5,
                    }
                )
    return pd.DataFrame(rows)


def test_summaries_of_masses(mass):
    curves = pivot_evidence.mass_curves(mass, 200).set_index(["source_lang", "layer", "measure"])
    assert curves.n.eq(39).all() and curves.loc[("fr", 0, "pivot"), "mean"] == pytest.approx(0.3, abs=0.01)
    band = curves.loc[("fr", 0, "control")]
    assert (band.low, band.high) == pytest.approx((0.1 - 1.96 * 0.02 / np.sqrt(39), 0.1 + 1.96 * 0.02 / np.sqrt(39)))
    whole = pivot_evidence.mass_summary(mass, 200).set_index("source_lang").loc["all"]
    assert whole.n == 39 and whole.above == pytest.approx(20 / 39) and whole.above_shuffled == pytest.approx(10 / 39)
    assert whole.n_cases == 78 and 0.25 < whole.q25 <= whole.q50 <= whole.q75 < 0.35
    types = pivot_evidence.type_mass(mass, 200).set_index(["source_lang", "type"])
    assert types.loc["fr"].share.sum() == pytest.approx(1) and types.loc[("fr", "English translation"), "per_token"] == pytest.approx(0.15, abs=0.01)
    assert np.isnan(types.loc[("fr", "number/symbol"), "per_token"]) and types.loc[("fr", "number/symbol"), "n_with"] == 0
    assert pivot_evidence.mass_summary(mass.assign(n_tokens=0), 10).empty and pivot_evidence.mass_curves(mass.assign(n_tokens=0), 10).empty
    contrasts = pivot_evidence.english_or_semantic(mass, 200)
    assert set(contrasts.source_lang) == {"fr", "all"}  # English is no pivot of pairs with English
    row = contrasts[contrasts.contrast.str.endswith("third-language translation")].iloc[0]
    assert row.low < row.difference < row.high and row.difference == pytest.approx(0.1, abs=0.01) and row.n == 40


def test_right_and_wrong_answers_apart(mass):
    items = mass[mass.layer == MIDDLE][["source_lang", "target_lang", "concept_id"]].drop_duplicates()
    right = items.concept_id.isin([f"c{c}" for c in range(1, 11)])
    more = mass.assign(mass_pivot=mass.mass_pivot + mass.concept_id.isin(items.concept_id[right]))
    table = pivot_evidence.by_answer(more, items.assign(first_token_correct=right.astype(float)), 100).set_index(["directions", "answer"])
    assert table.n_cases.to_dict() == {("all", "right"): 20, ("all", "wrong"): 58, ("without English", "right"): 10, ("without English", "wrong"): 29}
    assert table.mass_pivot["all", "right"] - table.mass_pivot["all", "wrong"] == pytest.approx(1, abs=0.02)
    # half of what is on neither word is on discovered pivots
    traces = items.assign(layer=5, excess=0.9, excess_source=0.1, excess_accepted=0.2)
    share = pivot_evidence.found_share(mass, traces, [5], 100).set_index("directions")
    assert share.share.to_numpy() == pytest.approx(0.5, abs=0.02) and (share.low <= share.share).all()
    said = report_pivots.answer_sentences(table.reset_index(), share.reset_index())
    assert said.count("\n") == 3 and "20 cases of 10 concepts" in said and "nan" not in said
    own = mass[(mass.concept_id == "c3") & (mass.source_lang == "fr")]
    assert "is wrong" in report_pivots.one_answer(own, 0.0) and report_pivots.one_answer(own, None).startswith("After the last block")


def test_labelled_tokens_against_other_concepts(mass):
    head = {"source_lang": "fr", "target_lang": "ja"}
    pivots = pd.DataFrame([head | {"concept_id": f"c{c}", "type": "English associate", "pivot_ids": [c, 100]} for c in range(4)])
    behaviors = pd.DataFrame(
        [head | {"concept_id": f"c{c}", "rule": "robust", "label": label} for c, label in enumerate(["pivot", "pivot", "pivot", "wrong", "pivot"])]
    )
    table = pivot_evidence.label_hits(behaviors, [0, 100, 3, 3, 100], pivots, 100)
    row = table[table.source_lang == "fr"].iloc[0]
    # c0 is hit and its token no other's, c1 by the token all have, c2 by none (the token is c3's); c3 is not called pivot, c4 has no pivots
    assert row.n_called == 4
    assert (row.n, row.share, row.chance) == pytest.approx((3, 2 / 3, (0 + 1 + 1 / 3) / 3)) and row["share: English associate"] == pytest.approx(2 / 3)


@pytest.fixture(scope="module")
def items():
    random, rows = np.random.default_rng(0), []
    for c in range(150):
        quality = random.normal()
        for pair in (("fr", "ja"), ("ja", "fr"), ("en", "zh")):
            both, support, a, b = random.normal(size=4)
            p = 0.3 + 0.05 * both + 0.2 * support + 0.1 * a + 0.1 * quality + 0.1 * random.normal()
            row = {
                "source_lang": pair[0],
                "target_lang": pair[1],
                "concept_id": f"c{c}",
                "p_target": p,
                "log_p_target": p,
                "log_both": both,
                "support": support,
                "support_apart": support,
            }
            rows.append(
                row
                | {
                    "log_source": a,
                    "log_target": b,
                    "pivot_mass": np.nan if c % 2 else random.normal(),
                    "n_target_tokens": 1 + c % 3,
                    "pos": "n" if c % 5 else "v",
                }
            )
    return pd.DataFrame(rows)


def test_regression_finds_what_was_put_in(items):
    table = pivot_evidence.regress(items, 50)
    documents = table[(table.model == "documents") & (table.outcome == "p_target")].set_index("term")
    assert (documents.low < [0.05, 0.2]).all() and (documents.high > [0.05, 0.2]).all() and (documents.n_concepts == 150).all()
    assert documents.loc["support", "p_perm"] < 0.05 and documents.loc["support", "coefficient"] > documents.loc["support", "null_high"]
    assert documents.loc["support", "r2"] > documents.loc["support", "r2_without"]
    design = attribution.design(items, ["log_both", "support"])
    again = pivot_evidence._coefficients(items.p_target.to_numpy(), design.support.to_numpy()[None], design.drop(columns="support"))
    assert again[0] == pytest.approx(documents.loc["support", "coefficient"])
    layers = table[(table.model == "layers") & (table.outcome == "p_target")].set_index("term")
    assert layers.loc["pivot_mass", "low"] < 0 < layers.loc["pivot_mass", "high"] and (layers.n_concepts == 75).all()
    bins = pivot_evidence.partial_effect(items)
    assert np.polyfit(*bins[(bins.model == "documents") & (bins.term == "support")][["x", "y"]].to_numpy().T, 1)[0] == pytest.approx(0.2, abs=0.03)
    assert bins.groupby(["model", "term"]).n.sum().max() == 450


def test_too_few_concepts_or_a_constant_predictor(items):
    assert pivot_evidence.regress(items[items.concept_id == "c0"], 10).empty and pivot_evidence.partial_effect(items.head(3)).empty
    constant = pivot_evidence.regress(items.assign(log_both=1.0), 10)
    assert set(constant.term) == {"support", "support_apart", "pivot_mass"}


def test_support_leaves_documents_with_both_words_out():
    head = {"source_lang": "fr", "target_lang": "ja"}
    pivots = pd.DataFrame(
        [
            head | {"concept_id": "a", "apart_source": 0.4, "apart_target": 0.1, "association": 0.3, "kept": True},
            head | {"concept_id": "a", "apart_source": 9.0, "apart_target": 9.0, "association": 9.0, "kept": False},
        ]
    )
    coverage = pd.DataFrame([head | {"concept_id": c, "status": s} for c, s in (("a", "pivots"), ("b", "no word associated"), ("c", "too few documents"))])
    table = pivot_evidence.pivot_support(pivots, coverage).set_index("concept_id")
    assert table.support_apart.to_dict() == pytest.approx({"a": np.log1p(0.1), "b": 0.0})
    assert table.support.to_dict() == pytest.approx({"a": np.log1p(0.3), "b": 0.0})
