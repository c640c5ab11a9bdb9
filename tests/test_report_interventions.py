"""Sentences and figures of the interventions say what the tables hold, also where results turn out the other way round."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from semantic_pivots import effects, figures_interventions, report_claims, report_interventions

PAIRS = [("fr", "zh"), ("zh", "fr")]
CONCEPTS = [f"c{i}.n" for i in range(12)]
MODEL = "packaged:gemma-3-270m"


def ablations(english, beside, later, seed=0):
    """Ablations in which English costs `english` nats more than its controls, of which later blocks add `later`."""
    random, rows = np.random.default_rng(seed), []

    def add(experiment, span, shift, controls, layer=12, **more):
        for pair in PAIRS:
            for concept in CONCEPTS:
                for control, n in {"own": 1, **controls}.items():
                    for number in range(n):
                        delta = -2.0 + (shift if control == "own" else 0.0) + 0.1 * random.normal()
                        rows.append((*pair, concept, experiment, span, control, number, layer, delta, more.get("k", 3)))

    built = {"transplanted": 3, "equal removal": 3}
    add("main", "english", english, {"matched": 5, "shuffled": 2, **built})
    add("main", "english beside target", beside, {"matched": 3, "equal removal": 3})
    add("main", "discovered", english, {"matched": 5, **built})
    add("main", "discovered beside target", beside, {"matched": 3, "equal removal": 3})
    for span in ("source", "target"):
        add("main", span, -1.0, {})
    for layer in (11, 12, 17):
        for span, controls in (("english", {"matched": 2, "equal removal": 2}), ("source", {}), ("target", {})):
            add("layer", span, english, controls, layer)
            add("direct", span, english - later, controls, layer)
    for span in ("english", "discovered"):
        add("held", span, english - later, {"matched": 2, **built}, 16)
        add("held", f"{span} beside target", beside - later, {"matched": 2, "equal removal": 3}, 16)
    for k in (1, 2):
        add("dose", "english", k * english, {"matched": 2}, k=k)
    for kind in ("kl own", "kl other", "kl text"):
        add(kind, "english", 4.0, {"matched": 2})
    table = pd.DataFrame(
        rows, columns=["source_lang", "target_lang", "concept_id", "experiment", "span", "control", "number", "layer", "delta", "n_directions"]
    )
    return table.assign(model=MODEL, clean=-3.0, last_layer=table.layer, removed=0.2)


def patches(concept_at, language_at):
    """Patches after which concept and language change hands at given blocks."""
    rows = []
    for pair in PAIRS:
        for i, concept in enumerate(CONCEPTS):
            for kind in ("none", "same", "concept", "language", "both", "mean"):
                for layer in [-1] if kind == "none" else [1, 5, 12, 17]:
                    c, la = kind in ("concept", "both", "mean") and layer >= concept_at, kind in ("language", "both", "mean") and layer >= language_at
                    p = [0.01] * 4
                    p[c + 2 * la] = 0.4 + 0.01 * i
                    rows.append((*pair, concept, kind, layer, c + 2 * la, -2.0 * (c or la), *p))
    columns = ["source_lang", "target_lang", "concept_id", "kind", "layer", "top", "delta", "p_0", "p_1", "p_2", "p_3"]
    return pd.DataFrame(rows, columns=columns).assign(model=MODEL, clean=-3.0)


def steered(gain):
    random, rows = np.random.default_rng(0), []
    for pair in PAIRS:
        for concept in CONCEPTS:
            for dose in (0.1, 0.2):
                for control, n in {"own": 1, "matched": 2, "transplanted": 2, "random": 2}.items():
                    rows += [(*pair, concept, dose, control, k, (gain if control == "own" else 0.0) + 0.1 * random.normal(), k == 0, False) for k in range(n)]
    columns = ["source_lang", "target_lang", "concept_id", "dose", "control", "number", "delta", "right", "english"]
    return pd.DataFrame(rows, columns=columns).assign(model=MODEL, clean=-4.0, layer=12, cosine=0.3)


@pytest.fixture(scope="module", params=["as the pivot account has it", "the other way round"])
def results(request):
    expected = request.param.startswith("as")
    ablated = ablations(-3.0, -1.0, -1.5) if expected else ablations(0.0, 0.0, 0.0)
    put, added = patches(5, 12) if expected else patches(12, 5), steered(1.0 if expected else -1.0)
    found = effects.effects(effects.item_table(ablated, put, added), 200, 199)
    return expected, found, effects.patch_curves(put, 100), effects.crossings(put, n_resamples=100), effects.steering_shares(added, 100)


def test_effects_are_recovered(results):
    expected, found, _, crossings, _ = results
    row = found[(found.kind == "ablation") & (found.what == "english") & (found.control == "matched") & (found.direction == "all")].iloc[0]
    assert row.difference == pytest.approx(-3.0 if expected else 0.0, abs=0.1) and row.n == 12 and row.n_items == 24
    later = found[(found.kind == "one block, through later blocks") & (found.what == "english") & (found.layer == 12) & (found.direction == "all")].iloc[0]
    assert later["mean"] == pytest.approx(-1.5 if expected else 0.0, abs=0.1)
    at = crossings[crossings.kind == "both"].set_index("measure").layer
    assert (at.concept, at.language) == ((5, 12) if expected else (12, 5))


def test_a_block_that_is_passed_and_lost_again_is_no_crossing():
    table = patches(5, 1)
    lost = (table.layer == 12) & table.kind.isin(["concept", "both"])
    table.loc[lost, ["p_0", "p_1", "p_2", "p_3"]] = [0.2, 0.0, 0.2, 0.0]  # the own concept again
    at = effects.crossings(table, n_resamples=50).set_index(["kind", "measure"]).layer
    assert at["concept", "concept"] == 17 and at["mean", "concept"] == 5 and at["both", "language"] == 1 and at["both", "concept − language"] == 16


def test_sentences_follow_the_results(results):
    expected, found, curves, crossings, shares = results
    text = report_interventions.ablation_sentences(found)
    assert "n = 12 concepts" in text and ("in 2 of 2 directions" in text) == expected
    assert "exactly the pivots' cosines" in report_interventions.ablation_sentences(found, "discovered")
    use = report_interventions.use_sentences(found)
    assert ("a loss is shown beyond every control; a loss through other blocks is shown beyond every control (with the part" in use) == expected
    assert ("a loss through other blocks is shown beyond no control" in use) != expected
    assert ("in fr → zh, zh → fr it is shown beyond every control, and in all of them also with the part along the target left in" in use) == expected
    assert report_interventions.uses(found, "english") == (["fr-zh", "zh-fr"] if expected else [])
    one = report_interventions.block_sentences(found, 12)
    assert ("So they add to the loss after 12, 13" in one) == expected and ("So that they use what was removed is not shown" in one) != expected
    table = report_interventions.use_table(found)
    assert table.shape == (10, 3) and table.loc["English forms (n = 12 concepts)"].loc["all of the loss"].str.endswith("*").all() == expected
    assert (table.loc["English forms (n = 12 concepts)"].loc["all, part along the target left in"] == "–").tolist() == [False, True, False]
    assert report_interventions.direction_table(found, "english").shape == (2, 5) and report_interventions.use_table(found.iloc[:0]).empty
    patched = report_interventions.patch_sentences(curves, crossings)
    assert ("At this position the language comes first" in patched) != expected and "between blocks 6 and 13" in patched
    steering = report_interventions.steering_sentences(found, shares)
    assert ("That is no rise" in steering) != expected and ("Controls that point at the target help more" in steering) != expected
    assert "with controls in 0." in steering and "same cosine to the target" in steering
    assert "2: " in report_interventions.reach_sentences(found)
    together = report_interventions.second_half_sentences(found, crossings)
    assert ("a loss is shown beyond every control" in together) == expected and together.count("**Removed,**") == 2
    assert ("there are layers in which the concept is there" in together) == expected and ("it helps more than its nearness does" in together) == expected
    assert report_interventions.steering_sentences(found[found.kind != "steering"], shares) == "There was nothing to steer."
    assert "no item" in report_interventions.known_sentences(found.iloc[:0], pd.DataFrame())


def test_claims_have_a_verdict_that_follows_the_numbers(results):
    from semantic_pivots import artifacts

    expected, found, _, crossings, _ = results
    store = artifacts.Store("laptop")
    names = report_claims.TABLES
    claims = report_claims.claims_table({n: store.read(n) for n in names}, found, crossings, MODEL).set_index("claim")
    assert set(claims.verdict) <= set(report_claims.VERDICTS.values()) and not claims.number.str.contains("nan").any()
    assert claims.verdict["First the concept, then the target language"] == ("replicates" if expected else "inconclusive")
    assert set(claims["whose claim"]) == {"the paper's", "follows from it", "other work's"}
    assert claims.verdict["The translation depends on the pivot"] == ("replicates" if expected else "not on this model")
    assert claims.verdict["Adding the pivot helps where the model fails"] == ("replicates" if expected else "not on this model")
    assert repr(report_claims.claims_view(claims.reset_index())) == "<IPython.core.display.HTML object>", "no address in memory"
    assert str(len(claims)) in report_claims.verdict_sentence(claims.reset_index())


@pytest.mark.parametrize(
    ("beside", "later", "verdict"), [(0.0, 0.0, "inconclusive"), (-1.0, 0.0, "with a correction"), (0.0, -1.5, "with a correction"), (-1.0, -1.5, "replicates")]
)
def test_a_loss_that_the_shared_direction_explains_shows_no_use(results, beside, later, verdict):
    from semantic_pivots import artifacts

    found = effects.effects(effects.item_table(ablations(-3.0, beside, later)), 200, 199)
    claims = report_claims.claims_table({n: artifacts.Store("laptop").read(n) for n in report_claims.TABLES}, found, results[3], MODEL).set_index("claim")
    assert claims.verdict["The translation depends on the pivot"] == verdict


@pytest.mark.parametrize(("third", "verdict"), [(False, "not on this model"), (True, "inconclusive")])
def test_whether_most_pass_through_a_third_token_must_not_depend_on_the_way_of_asking(results, third, verdict):
    """By the one layer that the rule chooses they do not; that is the verdict only if no other layer says otherwise."""
    from semantic_pivots import artifacts

    _, found, _, crossings, _ = results
    tables = {n: artifacts.Store("laptop").read(n) for n in report_claims.TABLES}
    tables["behaviors"] = tables["behaviors"].assign(any_third=third)
    claims = report_claims.claims_table(tables, found, crossings, MODEL).set_index("claim")
    assert claims.verdict["Most translations pass through an intermediate token"] == verdict


def test_figures_draw(results):
    _, found, curves, _, shares = results
    figures = [
        figures_interventions.ablation(found),
        figures_interventions.blocks(found),
        figures_interventions.blocks_by_target(found),
        figures_interventions.doses(found),
    ]
    figures += [figures_interventions.patches(curves), figures_interventions.steering(found, shares), figures_interventions.summary(found, curves)]
    for fig, _ in figures:
        assert all(ax.lines for ax in fig.axes if ax.get_visible())
        plt.close(fig)


def test_which_direction_is_told_with_its_numbers():
    rows = [(*p, c, d, control, value) for p in PAIRS for c in CONCEPTS[:3] for d, own in (("u", -20.0), ("Mᵀu", -1.0), ("Mᵀ(u − ū)", -5.0)) for control, value in (("own", own), ("shuffled", -2.0))]  # fmt: skip
    compared = pd.DataFrame(rows, columns=["source_lang", "target_lang", "concept_id", "direction", "control", "delta"])
    table, text = report_interventions.direction_sentences(compared)
    assert table.shape == (2, 6) and "in 0 with the norm taken into account" in text and "in 2 directions: what all tokens share" in text


@pytest.mark.parametrize(("high", "p", "verdict"), [(0.2, 0.5, "inconclusive"), (-0.2, 0.5, "not on this model"), (0.9, 0.001, "replicates")])
def test_a_null_is_told_from_what_could_not_be_seen(results, high, p, verdict):
    from semantic_pivots import artifacts

    _, found, _, crossings, _ = results
    names = report_claims.TABLES
    tables = {n: artifacts.Store("laptop").read(n) for n in names}
    tables["hypotheses"] = tables["hypotheses"].assign(estimate=high - 0.1, ci_low=high - 0.3, ci_high=high, p_holm=p)
    claims = report_claims.claims_table(tables, found, crossings, MODEL).set_index("claim")
    assert claims.verdict["It is their meetings that make the translation"] == verdict


@pytest.mark.parametrize(
    ("p", "elsewhere", "verdict"),
    [
        (0.001, 0.1, "replicates"),
        (0.001, -0.1, "with a correction"),
        (0.001, -0.3, "inconclusive"),
        (0.5, 0.1, "inconclusive"),
        (0.5, -0.3, "not on this model"),
    ],
)
def test_the_claim_about_training_needs_ranks_and_sentences_too(results, p, elsewhere, verdict):
    from semantic_pivots import artifacts

    _, found, _, crossings, _ = results
    tables = {n: artifacts.Store("laptop").read(n) for n in report_claims.TABLES}
    tables["transfer_placebo"] = tables["transfer_placebo"].assign(p=0.001, estimate=0.1)
    tables["transfer_replication"] = tables["transfer_replication"].assign(p_holm=p, estimate=0.2, mixed_low=elsewhere, mixed_high=elsewhere + 0.2)
    claims = report_claims.claims_table(tables, found, crossings, MODEL).set_index("claim")
    assert claims.verdict["Training on documents rich in pivots makes a model better across languages"] == verdict
    if verdict == "replicates":  # but not if a choice by any words does as much
        tables["transfer_placebo"] = tables["transfer_placebo"].assign(p=0.5)
        again = report_claims.claims_table(tables, found, crossings, MODEL).set_index("claim")
        assert again.verdict["Training on documents rich in pivots makes a model better across languages"] == "inconclusive"
    tables["transfer_replication"] = tables["transfer_replication"].iloc[:0]
    assert len(report_claims.claims_table(tables, found, crossings, MODEL)) == len(claims) - 1
