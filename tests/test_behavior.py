import numpy as np
import pandas as pd
import pytest

from semantic_pivots import behavior, report_behavior
from semantic_pivots.matching import Vocabulary
from semantic_pivots.task import LANGUAGES

ROLES = ("source", "target", "accepted", "en", "fr", "zh", "ja")


def item(concept, layers, overlap=False):
    """Rows of one item; a layer is (token, probability, information). Token 1 is the source's, 2 the target's, 3 English."""
    rows = []
    for number, (token, p, information) in enumerate(layers):
        row = {
            "model": "m",
            "lens": "raw",
            "prompt_set": 0,
            "source_lang": "zh",
            "target_lang": "fr",
            "concept_id": concept,
            "layer": number,
            "overlap": overlap,
            "readable": True,
        }
        row |= {"information": information, "excess": p, "entropy": 0.0}
        for name in ("top1", "info"):
            row |= {f"{name}_id": token, f"{name}_token": f"t{token}", f"{name}_text": f"t{token}"}
            row |= {f"{name}_is_{r}": token == {"source": 1, "zh": 1, "target": 2, "accepted": 2, "fr": 2, "en": 3}.get(r, -1) for r in ROLES}
        row |= {"top1_prob": p, "info_nats": p * information}
        row |= {f"excess_{r}": p if row[f"top1_is_{r}"] else 0.0 for r in ROLES}
        rows.append(row)
    return rows


def labels(*items):
    table = behavior.label_items(pd.DataFrame([row for i in items for row in i]))
    return table.set_index(["concept_id", "rule"])


STRAIGHT = item("straight", [(9, 0.2, 0.0), (1, 0.7, 2.0), (2, 0.4, 2.0), (2, 0.5, 2.0), (2, 0.6, 2.0)])
PIVOT = item("pivot", [(9, 0.2, 0.0), (1, 0.3, 2.0), (3, 0.8, 2.0), (2, 0.5, 2.0), (2, 0.9, 2.0)])
HABIT = item("habit", [(9, 0.99, 0.0), (1, 0.3, 2.0), (1, 0.5, 2.0), (2, 0.5, 2.0), (2, 0.9, 2.0)])
WRONG = item("wrong", [(9, 0.2, 0.0), (1, 0.3, 2.0), (3, 0.8, 2.0), (7, 0.5, 2.0), (7, 0.9, 2.0)])
ALIKE = item("alike", [(9, 0.2, 0.0), (1, 0.3, 2.0), (3, 0.8, 2.0), (2, 0.5, 2.0), (2, 0.9, 2.0)], overlap=True)
SILENT = item("silent", [(9, 0.2, 0.0), (1, 0.3, 0.1), (3, 0.8, 0.2), (2, 0.5, 2.0), (2, 0.9, 2.0)])


def test_each_rule_on_cases_with_a_known_answer():
    table = labels(STRAIGHT, PIVOT, HABIT, WRONG, ALIKE, SILENT).label
    assert table["straight"].to_dict() == {"released": "cooccurrence", "paper": "cooccurrence", "robust": "cooccurrence"}
    # released looks at the last layer too, which is the most confident here
    assert table["pivot"].to_dict() == {"released": "cooccurrence", "paper": "pivot", "robust": "pivot"}
    # a constant token of an early layer rules the naive rules, not the robust one
    assert table["habit"].to_dict() == {"released": "pivot", "paper": "pivot", "robust": "cooccurrence"}
    assert table["wrong"].to_dict() == {"released": "cooccurrence", "paper": "pivot", "robust": "wrong"}
    assert set(table["alike"]) == {"excluded"}
    assert table["silent", "robust"] == "excluded"


def test_the_deciding_layer_and_token_are_given():
    row = labels(PIVOT).loc[("pivot", "robust")]
    assert (row.layer, row.token, row.token_language, row.correct) == (2, "t3", "en", True)


def test_pivot_mass_is_a_share():
    mass = behavior.pivot_mass(pd.DataFrame([*STRAIGHT, *PIVOT, *SILENT])).set_index("concept_id")
    assert mass.pivot_mass["straight"] == pytest.approx(0)
    assert mass.pivot_mass["pivot"] == pytest.approx(0.8 / 1.1) == mass.english_mass["pivot"]
    assert np.isnan(mass.pivot_mass["silent"])


def test_specifications_hold_the_default_rule():
    traces = pd.DataFrame([*STRAIGHT, *PIVOT, *HABIT, *WRONG])
    table = behavior.specifications(traces)
    default = table[(table.exclude_last == 2) & (table.min_information == 1.0) & table.check.astype(bool)]
    expected = behavior.label_items(traces).query("rule == 'robust'")
    assert dict(zip(default.concept_id, default.label)) == dict(zip(expected.concept_id, expected.label))
    assert table.specification.nunique() == 4 * 4 * 2 + 2
    assert behavior.specifications(traces, exclude_last=(2, 5)).specification.nunique() == 4 * 2 + 2  # of five layers, five cannot be left out


def test_items_with_missing_layers_are_refused():
    with pytest.raises(ValueError, match="items have different layers"):
        behavior.layers_of(pd.DataFrame([*STRAIGHT, *PIVOT[:-1]]))


def test_too_many_layers_excluded():
    with pytest.raises(ValueError, match="exclude_last is 5, the model has 5 layers"):
        behavior.robust(behavior.layers_of(pd.DataFrame(STRAIGHT)), exclude_last=5)


FORMS = Vocabulary(("c",), tuple(LANGUAGES), ((("book", "books"),), (("livre", "livres", "bouquin"),), (("书", "书本"),), (("本", "書籍"),)))


@pytest.mark.parametrize(
    ("token", "roles"),
    [
        (" LIVRES", {"accepted"}),  # an inflected form of the target, in capitals
        (" bouq", {"accepted"}),  # the beginning of another translation
        (" liv", set()),  # too short a beginning
        ("ivres", {"accepted"}),  # a piece of it, without its beginning
        ("vre", set()),  # too short a piece
        (" Books", {"en"}),
        ("書", {"ja"}),
        ("书", {"source"}),
        (" ", set()),
        (" table", set()),
    ],
)
def test_forms_and_beginnings_are_recognised(token, roles):
    """Source zh, target fr: their roles go before those of languages."""
    traces = pd.DataFrame(item("c", [(9, 0.5, 2.0)])).assign(info_text=token)
    marked = behavior.mark_forms(traces, FORMS).iloc[0]
    assert {r for r in ROLES if marked[f"info_is_{r}"]} - {"fr", "zh"} == roles


def test_another_word_of_the_source_language_is_no_pivot():
    traces = pd.DataFrame(item("c", [(9, 0.5, 2.0)])).assign(info_text=" x", info_is_zh=True)  # an accepted word, not the item's own
    marked = behavior.mark_forms(traces, FORMS).iloc[0]
    assert marked.info_is_source and not marked.info_is_accepted


def test_a_token_that_was_known_keeps_its_role():
    traces = pd.DataFrame(item("c", [(3, 0.5, 2.0)])).assign(info_text=" livre")  # as English
    marked = behavior.mark_forms(traces, FORMS).iloc[0]
    assert marked.info_is_en and not marked.info_is_accepted


def test_a_pivot_that_is_a_form_of_the_target_is_none_for_the_robust_rule():
    traces = pd.DataFrame(PIVOT).assign(concept_id="c", info_text=[" x", " 书", " livres", " livre", " livre"])
    traces[[f"info_is_{r}" for r in ROLES]] = False
    rule = behavior.label_items(traces).set_index("rule").label
    assert rule["robust"] == "pivot"
    marked = behavior.label_items(behavior.mark_forms(traces, FORMS)).set_index("rule").label
    assert marked["robust"] == "cooccurrence" and marked["paper"] == rule["paper"]


def test_unreadable_words_are_excluded_and_counted():
    traces = pd.DataFrame([*STRAIGHT, *PIVOT])
    traces["readable"] = traces.concept_id != "pivot"
    table = behavior.label_items(traces)
    assert (table[table.concept_id == "pivot"].label == "excluded").all()  # by every rule
    assert behavior.shares(table, n_resamples=20).n_unreadable.unique().tolist() == [1]


def test_pivot_languages_are_shares_of_the_pivots():
    table = behavior.pivot_languages(behavior.label_items(pd.DataFrame([*PIVOT, *STRAIGHT])), n_resamples=20)
    rows = table[(table.rule == "robust") & (table.source_lang == "all")].set_index("language")
    assert rows.n.unique().tolist() == [1] and rows.share["en"] == 1 and rows.share.sum() == 1


def test_shares_are_told_by_lens_and_without_english():
    labels = behavior.label_items(pd.DataFrame([*PIVOT, *STRAIGHT])).assign(model="m", lens="raw")
    table = report_behavior.lens_table(pd.concat([labels, labels.assign(lens="ridge", label="cooccurrence")]))
    robust = labels[labels.rule == "robust"]
    assert report_behavior.pivot_share_text(robust, n=False) == f"{(robust.label == 'pivot').mean():.2f}"
    assert table.lens.tolist() == ["raw", "raw", "ridge", "ridge"] and table.directions.tolist() == 2 * ["all", "without English"]
    assert table.robust[0] == report_behavior.pivot_share_text(robust) and table.released[2].startswith("0.00 [")
    assert report_behavior.pivot_share_text(robust[robust.label == "wrong"]) == "–"
