"""The sentences of notebook 06 say what the tables say."""

import pandas as pd

from semantic_pivots import checkpoints, figures_causal, report_causal
from semantic_pivots.severance import EDGES, GROUPS


def fixed(**effects):
    """A table of the fixed tests: name -> (estimate, p)."""
    rows = []
    for name in (*checkpoints.PRIMARY, "pivot_only - chance", "none - chance"):
        estimate, p = effects.get(name.replace(" - ", "_"), (0.0, 0.9))
        rows.append({"contrast": name, "estimate": estimate, "ci_low": estimate - 0.01, "ci_high": estimate + 0.01, "p": p, "p_holm": min(1, 4 * p), "n": 80})
    return pd.DataFrame(rows)


def said(whole=(0.0, -0.05, 0.05), **effects):
    return report_causal.verdict(fixed(**effects), whole)


def test_the_verdict_follows_sign_and_corrected_p():
    assert "Direct co-occurrence helps (0.100" in said(direct=(0.1, 0.001))
    assert "Direct co-occurrence hurts (-0.100" in said(direct=(-0.1, 0.001))
    assert "No effect of direct co-occurrence on MRR was found" in said(direct=(0.1, 0.02))  # .08 after Holm
    assert "stand in for each other" in said(interaction=(-0.1, 0.001))
    assert "translated better where a path through English is open" in said(pivot_only_none=(0.1, 0.001))
    assert "ranked not above chance" in said() and "ranked above chance" in said(pivot_only_chance=(0.1, 0.01))


def test_only_an_experiment_without_effects_says_that_nothing_could_be_traced_to_meetings():
    known, words = {"none_chance": (0.2, 0.001)}, "could be traced to meetings"
    assert words in said(**known) and "0.000 [-0.050, 0.050]" in said(**known) and "at most 25% of it is" in said(**known)
    assert "it may be all of it" in said(whole=(0.1, -0.05, 0.35), **known) and "ranked 0.300 above chance" in said(whole=(0.1, -0.05, 0.35), **known)
    assert words not in said(direct=(0.1, 0.001), **known) and words not in said()


def test_cuts_that_are_not_detected_are_told_aloud():
    rows = fixed(pivot=(0.1, 0.01)).assign(direction="fr-en")
    assert "detected where they were made" in report_causal.manipulation_sentence(rows)
    nothing = report_causal.manipulation_sentence(fixed(pivot=(0.005, 0.5)))
    assert "**The cuts were not detected even where they were made.**" in nothing and "p = .500" in nothing
    table = report_causal.manipulation_table(rows[rows.contrast.isin(["direct", "pivot"])])
    assert table.direction.tolist() == ["fr → en"] * 2 and table["effect on MRR"].iloc[1] == "0.100 [0.090, 0.110]"


def test_the_own_translation_is_told_beyond_the_null():
    foreign = fixed(direct=(-0.1, 0.01)).assign(target="foreign", outcome="log_ratio")
    own = fixed(direct=(0.1, 0.4)).assign(target="own", outcome="log_ratio")
    beyond = fixed(direct=(0.2, 0.016)).assign(outcome="log_ratio")
    text = report_causal.null_sentence(pd.concat([own, foreign]), beyond[beyond.contrast.isin(checkpoints.PRIMARY)])
    assert "1 of 4 contrasts" in text and "log-ratio 0.200 [0.190, 0.210] (p = .016)" in text
    assert "over all 4 such differences the least has p = .064 (direct co-occurrence" in text
    assert "log-ratio: own +0.100 (p = .400), foreign -0.100 (p = .010)" in text


def test_the_table_of_tests_has_one_row_a_test():
    table = report_causal.hypotheses_table(fixed(direct=(0.1, 0.001)))
    assert len(table) == 6 and table["p (Holm)"].iloc[0] == "0.0040"


def severance():
    rows = []
    for b in range(3):
        for g, cuts in GROUPS.items():
            for edge in EDGES:
                cut, (first, second) = edge in cuts, edge.split("-")
                rows.append({"concept_id": f"{g}{b}", "group": g, "block": b, "triple": "fr-en-ja", "edge": edge, "cut": cut, "n_both_before": 9})
                rows[-1] |= {"n_both_after": 0 if cut else 6, "n_first_before": 50, "n_first_after": 50, "n_second_before": 40, "n_second_after": 41}
                rows[-1] |= {"first_lang": first, "second_lang": second}
    return pd.DataFrame(rows)


def test_figures_draw_what_they_are_given():
    fig, axes = figures_causal.meetings(severance())
    assert [a.get_title() for a in axes] == ["French – Japanese", "French – English", "English – Japanese"]
    means = pd.DataFrame([(d, "reciprocal_rank", g, 0.4, 0.3, 0.5, 9) for d in ("fr-ja", "fr-ja + ja-fr") for g in GROUPS])
    means.columns = ["direction", "outcome", "group", "mean", "ci_low", "ci_high", "n"]
    fig, axes = figures_causal.two_by_two(means, 0.293)
    assert [a.get_title() for a in axes[0]] == ["fr → ja", "both directions"]
    fig, ax = figures_causal.learning(pd.concat([means.assign(tokens=t) for t in (1e6, 2e6)]), 0.293)
    assert len(ax.lines) == 3  # two directions and chance
    drawn = pd.concat([fixed().assign(outcome=o, target=t) for o in ("reciprocal_rank", "score") for t in ("own", "foreign")])
    fig, axes = figures_causal.forest(drawn, {"reciprocal_rank": "a", "score": "b"})
    assert len(axes) == 2 and len(axes[0].get_yticklabels()) == len(checkpoints.PRIMARY)
    fig, ax = figures_causal.development(pd.concat([fixed().assign(tokens=t) for t in (1e6, 2e6)]))
    assert ax.get_xscale() == "log"


def test_the_cut_edges_and_the_changed_counts_are_told():
    table = severance()
    collateral = pd.DataFrame({"group": ["full"], "edge": ["source-pivot"], "kept": [0.5], "n": [3], "n_lost": [1]})
    text = report_causal.severance_sentences(table, collateral, 1234)
    assert (
        "1,234 documents" in text
        and "after them in **0**" in text
        and "0.71% more" in text
        and "at most 1 more" in text
        and table[table.cut].n_both_before.sum() == 162
    )
    assert "met in 162 documents" in text
