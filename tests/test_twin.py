"""The synthetic twin: what is true of its worlds by construction, that the pipeline runs on it as it is, and what its tests find where effects are planted."""

import itertools
from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats as distributions

from semantic_pivots import artifacts, behavior, checkpoints, cooccurrence, figures_twin, interventions, lens, report_twin, task, tokens, twin, twin_analysis
from semantic_pivots.severance import EDGES, GROUPS
from semantic_pivots.task import LANGUAGES
from semantic_pivots.twin import TRIPLE, UNITS, WORLDS, Twin, make_world

SMALL = Twin(n_concepts=80, n_demos=20, doses=(2, 4), layers=3, steps=4, batch=16, stages=(0.5, 1.0))
CHANCE = np.mean(1 / np.arange(1, 11))


@pytest.fixture(scope="module", params=WORLDS)
def world(request):
    return make_world(replace(SMALL, world=request.param)), request.param


@pytest.fixture(scope="module")
def factorial():
    return make_world(SMALL)


@pytest.fixture(scope="module")
def run():
    return twin.run_twin(SMALL)


def words_of(document):
    return {word for unit in document for _, word in unit}


def test_counts_are_those_of_a_plain_loop(world):
    made, _ = world
    sets = [words_of(d) for d in made.documents]
    n = Counter(itertools.chain.from_iterable(sets))
    assert set(zip(made.counts.source_lang, made.counts.target_lang)) == set(itertools.permutations(LANGUAGES, 2))
    for row in made.counts.sample(200, random_state=0).itertuples():
        a, b = made.lexicon.loc[row.concept_id, [row.source_lang, row.target_lang]]
        assert (row.n_docs, row.n_source, row.n_target) == (len(sets), n[a], n[b]) and row.n_both == sum(a in s and b in s for s in sets)
    known = made.counts[made.counts.n_both > 0]
    np.testing.assert_allclose(known.npmi, cooccurrence.npmi(known.n_source, known.n_target, known.n_both, len(sets)))


def test_every_word_has_the_count_of_its_dose_whatever_its_group(world):
    made, _ = world
    counts = made.counts[made.counts.source_lang.isin(TRIPLE.languages)]
    assert (counts.n_source.to_numpy() == 2 * counts.concept_id.map(made.lexicon.dose).to_numpy()).all()
    assert (made.counts.n_source[made.counts.source_lang == TRIPLE.fourth] == 0).all()


def test_edges_meet_as_the_groups_say(world):
    made, name = world
    test, dose = (made.lexicon.split == "test").to_numpy(), made.lexicon.dose.to_numpy()
    sets = [words_of(d) for d in made.documents]
    for edge in EDGES:
        words = made.lexicon[list(TRIPLE.ends(edge))].to_numpy()
        n = np.array([sum(a in s and b in s for s in sets) for a, b in words])
        cut = np.array([edge in GROUPS[g] for g in made.lexicon.group])
        assert (n[~test] == dose[~test]).all()
        if name == "shuffled":  # now and then by chance
            assert n[test].sum() < 0.1 * dose[test].sum()
        else:
            assert (n == np.where(cut & (name == "factorial"), 0, dose)).all()


def test_documents_have_one_form(world):
    made, _ = world
    owner = {w: c for la in LANGUAGES for c, w in made.lexicon[la].items()}
    for document in made.documents:
        assert len(document) == UNITS and all(len(unit) == 2 for unit in document)
        concepts = [{owner[w] for _, w in unit if w in owner} for unit in document]
        assert sum(map(len, concepts)) == len(set().union(*concepts)), "a concept stands in two units"


def test_groups_are_drawn_in_blocks_of_one_dose(factorial):
    blocks = factorial.assignment.groupby("block")
    assert (blocks.group.agg(set) == set(GROUPS)).all() and (blocks.size() == len(GROUPS)).all() and (blocks.dose.nunique() == 1).all()
    assert factorial.assignment.groupby(["group", "dose"]).size().nunique() == 1
    assert make_world(replace(SMALL, seed=1)).assignment.group.index.equals(factorial.assignment.group.index)
    assert set(make_world(replace(SMALL, seed=1)).assignment.concept_id) != set(factorial.assignment.concept_id)


def test_the_lexicon_is_one(factorial, tmp_path):
    factorial.lexicon.to_parquet(tmp_path / "lexicon.parquet", index=False)
    read = task.read_lexicon(tmp_path / "lexicon.parquet")
    words = list(itertools.chain.from_iterable(read[la] for la in LANGUAGES))
    assert len(set(words)) == len(words) and len(task.draw_concepts(read, SMALL.n_concepts, 0)) == SMALL.n_concepts


def test_words_and_labels_are_single_tokens(factorial):
    tokenizer = twin.make_tokenizer(factorial)
    words = [w for la in TRIPLE.languages for w in factorial.lexicon[la]]
    assert all(len(ids) == 2 and ids[1] != tokenizer.convert_tokens_to_ids("<unk>") for ids in tokenizer(words)["input_ids"])
    prompt = task.build_prompts(factorial.lexicon, ("fr", "ja"), 1, 0, prompt_format="labels")[0]
    encoded = tokens.encode_targets(tokenizer, [prompt.text(words[0])], prompt.joiner, [words[1]])[0]
    assert encoded.stop - encoded.start == 1 and len(encoded.ids) == 1 + 5 * 6 + 5
    text = twin.text(factorial.documents[0])
    shown = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
    assert "".join(t + " " * t.endswith(":") for t in shown[1:]) == text


def weights(world, settings):
    return [[p.detach().clone() for p in lm.network.parameters()] for _, lm in twin.train_twin(world, settings)]


def test_the_same_settings_give_the_same_world_and_weights(factorial):
    again = make_world(SMALL)
    assert again.documents == factorial.documents
    pd.testing.assert_frame_equal(again.counts, factorial.counts)
    first, second = weights(factorial, SMALL), weights(again, SMALL)
    assert len(first) == len(SMALL.stages) and all(torch.equal(a, b) for a, b in zip(sum(first, []), sum(second, [])))
    assert not all(torch.equal(a, b) for a, b in zip(first[0], first[1])), "nothing was learnt between two stages"


def test_a_model_learns_its_documents(factorial):
    ids = torch.tensor(twin.make_tokenizer(factorial)([twin.text(d) for d in factorial.documents[:40]])["input_ids"])
    loss = [float(lm.network(ids, labels=ids).loss.detach()) for _, lm in twin.train_twin(factorial, replace(SMALL, steps=24))]
    assert loss[1] < loss[0] < np.log(int(ids.max()))


def test_the_pipeline_runs(factorial, run):
    scores, behaviors, changes = run["scores"], run["behaviors"], run["interventions"]
    kinds = scores.groupby(["trained", "distractors"]).size()
    assert kinds.to_dict() == {(0.5, "own group"): 80, (1.0, "own group"): 80, (1.0, "all groups"): 80}
    assert scores.reciprocal_rank.between(0.1, 1).all() and scores.block.nunique() == 20
    assert len(behaviors) == 80 * len(behavior.RULES) and len(changes) == 2 * 80 * SMALL.layers
    drawn = factorial.assignment.set_index("0:" + factorial.assignment.concept_id).group.to_dict()
    for table in run.values():
        assert table.drop_duplicates("concept_id").set_index("concept_id").group.to_dict() == drawn
    cut = behaviors.group.map(lambda g: EDGES[0] in GROUPS[g])
    assert (behaviors.n_both[cut] == 0).all() and (behaviors.n_both[~cut] == behaviors.dose[~cut]).all()


def test_distractors_are_of_the_own_cell(factorial):
    cells = [factorial.lexicon.loc[ids] for _, ids in factorial.assignment.groupby(["group", "dose"]).concept_id]
    for pair, items in twin._items(cells, 0).items():
        cell = factorial.lexicon.set_index(pair[0])[["group", "dose"]].apply(tuple, axis=1)
        assert len(items) == 80 and all({cell[d] for d in row.distractors} == {cell[row.source_word]} for row in items.itertuples())


def test_projecting_out_is_what_a_plain_hook_does(factorial):
    """After the first block, against a forward pass whose first block's output is changed at the last position."""
    *_, (_, lm) = twin.train_twin(factorial, SMALL)
    own = factorial.lexicon.loc[factorial.assignment.sort_values(["group", "dose"]).concept_id]
    pair, items = ("fr", "ja"), pd.DataFrame({"concept_id": own.index, "source_word": own.fr, "target_word": own.ja}).reset_index(drop=True)
    prompt = task.build_prompts(factorial.lexicon, pair, 1, 0, prompt_format="labels")[0]
    table = twin._project_out(lm, factorial.lexicon, items, prompt).set_index(["part", "layer", "concept_id"])
    item = items.iloc[0]
    (ids,), (target,) = interventions.answer_sequences(lm, prompt, [item.source_word], [item.target_word])
    direction = interventions.token_directions(lm, [lm.tokenizer.convert_tokens_to_ids(own.en.iloc[0])])[0]
    direction = direction / direction.norm()

    def change(module, inputs, output):
        output[:, -1] -= (output[:, -1] @ direction)[:, None] * direction

    def odds():
        p = lm.network(torch.tensor([ids])).logits[0, -1].softmax(-1)[target].double()
        return float(torch.log(p / (1 - p)))

    with torch.inference_mode():
        before = odds()
        hook = lm.blocks[0].register_forward_hook(change)
        after = odds()
        hook.remove()
        # the last block's output as it was, but for what the first block's lacks
        with lens.capture_blocks(lm) as outputs:
            lm.network(torch.tensor([ids]))
        first, final = outputs[0][0, -1], outputs[-1][0, -1]
        p = lm.network.lm_head(lm.final_norm(final - (first @ direction) * direction)).softmax(-1)[target].double()
    assert table.loc[("all", 0, item.concept_id), "own"] == pytest.approx(after - before, abs=1e-4)
    assert table.loc[("direct", 0, item.concept_id), "own"] == pytest.approx(float(torch.log(p / (1 - p))) - before, abs=1e-4)


def planted(effect, seed=0, world="factorial", n_twins=2, path=0.0):
    """Scores of some twins with made-up outcomes: words that meet do better by ``effect``, words with an open path by ``path``."""
    random, parts = np.random.default_rng(seed), []
    for name in map(str, range(n_twins)):
        for trained, distractors in ((0.5, "own group"), (1.0, "own group"), (1.0, "all groups")):
            group, block = np.tile(list(GROUPS), 12), np.repeat(np.arange(12), 4)
            table = pd.DataFrame({"group": group, "block": block + 100 * int(name), "dose": np.where(block < 6, 3, 12)})
            table["concept_id"] = f"{name}:" + table.index.astype(str)
            table = table.assign(triple="fr-en-ja", world=world, twin=name, trained=trained, distractors=distractors, score=0.0, log_ratio=0.0)
            noise = random.normal(0, 0.05, len(table)) + trained * (
                effect * table.group.isin(["full", "direct_only"]) + path * table.group.isin(["full", "pivot_only"])
            )
            parts.append(table.assign(reciprocal_rank=CHANCE + noise))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def tests():
    scores = pd.concat([planted(0.4, path=0.2, n_twins=4), planted(0, 1, "placebo"), planted(0, 2, "shuffled")])
    stages = {"level": twin_analysis.at_level(scores, CHANCE), "end": scores[scores.trained == 1]}
    return scores, pd.concat([twin_analysis.contrast_tests(s, 99, 50).assign(stage=name) for name, s in stages.items()])


@pytest.fixture(scope="module")
def power(tests):
    return twin_analysis.power(tests[1], ["stage", "world", "distractors", "dose", "contrast"])


def test_planted_effects_are_found(tests, power):
    scores, table = tests
    rows = power.set_index(["stage", "world", "distractors", "dose", "contrast"])
    for contrast in ("direct", "pivot", "pivot_only - none"):
        row = rows.loc[("end", "factorial", "own group", 0, contrast)]
        assert row.n_twins == 4 and row.n_found >= 3 and row.share == row.n_found / 4
    row = rows.loc[("end", "factorial", "own group", 0, "direct")]
    assert (row.n_found, row.ci_high) == (4, 1) and row.ci_low == pytest.approx(0.025**0.25)  # Clopper–Pearson of 4 in 4
    null = power[(power.world != "factorial") & power.contrast.isin(checkpoints.PRIMARY)]
    assert null.n_found.sum() / null.n_twins.sum() < 0.1
    end = scores[(scores.world == "factorial") & (scores.trained == 1) & (scores.distractors == "own group")]
    means = end.groupby("group").reciprocal_rank.mean()
    own = table[(table.world == "factorial") & (table.stage == "end") & (table.distractors == "own group") & (table.dose == 0)].set_index(["twin", "contrast"])
    expected = means[["full", "direct_only"]].mean() - means[["pivot_only", "none"]].mean()
    assert own.estimate[("all", "direct")] == pytest.approx(expected) and own.n[("all", "direct")] == 192
    single = own.estimate[["0", "1", "2", "3"]].xs("direct", level="contrast")
    assert single.mean() == pytest.approx(expected)
    student = distributions.ttest_1samp(single, 0).confidence_interval()
    assert own.loc[("all", "direct"), ["ci_low", "ci_high"]].tolist() == pytest.approx([student.low, student.high])
    one = twin_analysis.contrast_tests(end[end.twin == "0"], 9, 50).set_index(["twin", "dose", "contrast"])
    assert one.ci_low[("all", 0, "direct")] == one.ci_low[("0", 0, "direct")], "a single twin has only its concepts"


def test_development_and_the_stage_of_a_level(tests):
    scores, _ = tests
    table = twin_analysis.development(scores).set_index(["world", "distractors", "twin", "trained"])
    row = table.loc[("factorial", "own group", "0", 1.0)]
    assert row["pivot_only - none"] == pytest.approx(row.pivot_only - row.none) and row.interaction == pytest.approx(
        row.full - row.pivot_only - row.direct_only + row.none
    )
    for mrr, trained in ((CHANCE + 0.3, 0.5), (0.9, 1.0)):
        level = twin_analysis.at_level(scores[scores.world == "factorial"], mrr)
        assert set(level.trained) == {trained} and set(level.distractors) == {"own group"} and len(level) == 192


def test_groups_drawn_anew_find_what_the_level_allows():
    scores = planted(0, 3, "placebo", 1)
    draws = twin_analysis.redrawn(scores[(scores.trained == 1) & (scores.distractors == "own group")].sample(frac=1, random_state=0), 60, 99)
    assert len(draws) == 60 and draws["any"].mean() < 0.2 and (draws["any"] == draws[list(checkpoints.PRIMARY)].any(axis=1)).all()


def labelled(n=4):
    """Labels of two twins: mostly pivot where words do not meet, whether there is a path or not."""
    rows = []
    for name, k, (rule, group) in itertools.product("01", range(4 * n), itertools.product(behavior.RULES, GROUPS)):
        meet = group in ("full", "direct_only")
        rows.append((name, f"{name}:{group}{k}", group, rule, "cooccurrence" if meet != (k % 7 == 0) else "pivot", 3 * meet))
    table = pd.DataFrame(rows, columns=["twin", "concept_id", "group", "rule", "label", "n_both"])
    facts = {"world": "factorial", "model": "m", "corpus": "twin", "source_lang": "fr", "target_lang": "ja", "n_source": 6, "n_target": 6, "npmi": 0.5}
    return pd.concat([table.assign(**facts), table.assign(**facts | {"world": "placebo", "n_both": 3})], ignore_index=True)


def test_labels_and_counts():
    behaviors = labelled()
    shares, found = twin_analysis.label_tables(behaviors, 20, 39)
    own = behaviors.query("world == 'factorial' and rule == 'paper'").groupby("group").label.agg(lambda x: (x == "pivot").mean())
    row = shares[(shares.world == "factorial") & (shares.rule == "paper")].set_index("group")
    np.testing.assert_allclose(row.share, own[row.index])
    auc = found[(found.world == "factorial") & (found.test == "AUC") & (found.twin == "all")]
    assert (auc.estimate > 0.6).all() and (auc.p < 0.05).all() and set(auc.rule) == set(behavior.RULES)
    assert found[(found.world == "placebo") & (found.test == "AUC")].estimate.eq(0.5).all()
    power = twin_analysis.power(found, ["world", "test", "rule"])
    assert "By no rule does" in report_twin.label_sentences(shares, found, power)
    telling = shares.assign(low=np.where((shares.group == "pivot_only") & (shares.rule == "paper"), 0.99, shares.low))
    assert "By paper the interval of" in report_twin.label_sentences(telling, found, power)


def test_interventions_are_told(run):
    effects = twin_analysis.intervention_effects(run["interventions"], 50)
    own = run["interventions"].query("layer == 0 and group == 'full' and part == 'all'")
    row = effects[(effects.layer == 0) & (effects.group == "full")].set_index("part")
    assert row["mean"]["all"] == pytest.approx((own.own - own.control).mean()) and row.n["all"] == 20
    assert row["mean"]["later"] == pytest.approx(row["mean"]["all"] - row["mean"]["direct"])
    last = effects[effects.layer == effects.layer.max()].pivot(index=["world", "group"], columns="part", values="mean")
    np.testing.assert_allclose(last["later"], 0, atol=1e-4)  # after the last block nothing follows
    hurt = effects.assign(ci_high=np.where(effects.group.isin(["full", "pivot_only"]), -0.1, 0.1))
    assert "and there only" in report_twin.intervention_sentences(hurt)
    assert "add to the loss in no group" in report_twin.intervention_sentences(effects.assign(ci_high=0.1))


def real(direct=(0.0, -0.05, 0.05)):
    rows = [("direct", *direct), ("pivot_only - none", 0.0, -0.1, 0.1)]
    return pd.DataFrame(rows, columns=["contrast", "estimate", "ci_low", "ci_high"])


def told(tests, power, fixed, detectable, full=CHANCE + 0.6):
    scores, table = tests
    return report_twin.effect_sentences(
        table, power, twin_analysis.at_level(scores, full), fixed, full, {"direct": detectable, "pivot_only - none": detectable}
    )


def test_sentences_follow_the_tables(tests, power):
    """The level's tests were made where the planted effects have half their size (0.2 and 0.1)."""
    text = told(tests, power, real(), 0.15)
    assert "does come to translate pairs that never met through a path" in text
    assert "the effect of meetings is larger than" in text and "the real interval excludes it" in text and "in the way in which twins learn it" in text
    assert "the effect of a path is smaller than" in text and "could well have been missed**, and the real interval does not exclude it" in text
    text = told(tests, power, real((0.2, 0.1, 0.3)), 0.05)
    assert text.count("would have been seen**") == 2 and "in the way in which" not in text
    middle = float(tests[1].query("stage == 'level' and world == 'factorial' and twin == 'all' and dose == 0 and contrast == 'direct'").estimate.iloc[0])
    assert "the effect of meetings is about as large as" in told(tests, power, real(), middle)
    assert "left open" in told(tests, power, real(), 0.15, full=0.0)
    nothing = tests[0], tests[1].assign(ci_low=-1.0)
    text = told(nothing, power, real(), 0.15)
    assert "No translation of pairs that never met" in text and text.count("as far as can be told") == 2
    draws = twin_analysis.redrawn(tests[0].query("world == 'placebo' and trained == 0.5"), 5, 19)
    foreign = real().assign(outcome="log_ratio")
    assert "can pass for an effect" not in report_twin.false_positive_sentences(draws, tests[1].assign(ci_low=-1.0, ci_high=1.0), power, foreign)
    assert "does not show it" in report_twin.false_positive_sentences(draws, tests[1].assign(ci_low=0.1), power, foreign)
    found = tests[1].assign(ci_low=0.1, estimate=0.2)
    for estimate, said in ((0.2, "shows something like it: log-ratio"), (-0.2, "but in the other direction: log-ratio")):
        assert said in report_twin.false_positive_sentences(draws, found, power, foreign.assign(ci_high=-0.01, estimate=estimate))
    assert report_twin.power_table(power).iloc[0, 1].startswith("4 of 4")


def test_a_killed_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    table = pd.DataFrame({"x": [1.5]})
    made = {name: table for name in ("scores", "behaviors", "interventions")}
    monkeypatch.setattr(twin, "run_twin", lambda settings: {n: t.assign(seed=settings.seed) for n, t in made.items()})
    store, twins, threads = artifacts.Store("twin"), [replace(SMALL, seed=s) for s in (0, 1)], torch.get_num_threads()
    first = twin.run_twins(twins, store)
    monkeypatch.setattr(twin, "run_twin", lambda settings: pytest.fail("a finished twin was made again"))
    again = twin.run_twins(twins, store)
    assert torch.get_num_threads() == threads
    for name in made:
        pd.testing.assert_frame_equal(first[name], again[name])
        assert list(first[name].seed) == [0, 1]


def test_twins_side_by_side_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    twins = [replace(SMALL, seed=s) for s in (0, 1)]
    alone, together = (twin.run_twins(twins, artifacts.Store(f"with-{n}"), workers=n) for n in (1, 2))
    for name, table in alone.items():
        pd.testing.assert_frame_equal(table, together[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"world": "flat"}, "world 'flat' is not known: use factorial, placebo, shuffled"),
        ({"n_concepts": 84}, "n_concepts is 84"),
        ({"n_concepts": 72}, "n_concepts is 72.* 80 at least"),
        ({"doses": (4, 4)}, r"doses are \(4, 4\)"),
        ({"doses": (0, 4)}, r"doses are \(0, 4\)"),
        ({"stages": (1.0, 0.5)}, r"stages are \(1.0, 0.5\)"),
        ({"stages": (0.5,)}, r"stages are \(0.5,\).*the last 1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_figures_draw_what_is_there(tests):
    grown = twin_analysis.development(tests[0])
    fig, axes = figures_twin.learning(grown, CHANCE)
    end = grown[(grown.world == "factorial") & (grown.distractors == "own group") & (grown.trained == 1)]
    assert any(np.isclose(line.get_ydata()[-1], end.full.mean()) for line in axes[0].lines if len(line.get_ydata()) == 2)
    fig, axes = figures_twin.effects(grown, real(), (0.46, 0.4, 0.5), {"direct": 0.1, "pivot_only - none": 0.14})
    assert all(
        np.isclose(line.get_xdata()[-1], end.full.iloc[k])
        for k, line in enumerate([x for x in axes[1].lines if len(x.get_xdata()) == 2 and x.get_marker() in "os"][:2])
    )
    plt.close("all")
