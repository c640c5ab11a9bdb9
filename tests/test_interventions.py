"""The fast interventions equal one prompt at a time with hooks, for every family; spans, directions and controls keep what they promise."""

import numpy as np
import pandas as pd
import pytest
import torch

from semantic_pivots import ablation, artifacts, association, control_spans, effects, interventions, lens, patching, subjects, task
from semantic_pivots.matching import Vocabulary
from semantic_pivots.models import LanguageModel
from tests import bench_interventions as plain

PREFIX = [2, 5, 6, 7, 8]
SEQUENCES = [[*PREFIX, *s] for s in ([11, 40, 41, 42, 43, 9], [12, 50, 9], [13, 60, 61, 62, 9])]  # of different lengths
TARGETS = [100, 101, 102]


@pytest.fixture(scope="module")
def bases():
    """Two spans for each of three items: one of two directions, one of none."""
    generator = torch.Generator().manual_seed(0)
    spans = interventions.spans(torch.randn(3, 2, 32, generator=generator))
    return torch.stack([spans, torch.zeros_like(spans)], 1)


def test_states_are_those_of_the_plain_pass(family_model):
    answers = interventions.read_answers(family_model, SEQUENCES)
    assert answers.states.shape == (3, 4, 32) and answers.lengths.tolist() == [5, 2, 4] and answers.positions.tolist() == [10, 7, 9]
    for i, ids in enumerate(SEQUENCES):
        states = plain.block_outputs(family_model, ids)
        torch.testing.assert_close(answers.states[i, 1:], states, atol=1e-4, rtol=1e-4)


def test_ablation_equals_hooks_one_prompt_at_a_time(family_model, bases):
    answers = interventions.read_answers(family_model, SEQUENCES)
    hidden = ablation.ablated(family_model, answers, bases, 0, 1)
    seen, top = (x.view(3, 2) for x in interventions.log_odds(family_model, hidden.flatten(0, 1), torch.tensor(TARGETS).repeat_interleave(2)))
    for i, ids in enumerate(SEQUENCES):
        for j in range(2):
            expected = plain.log_odds(family_model, ids, TARGETS[i], plain.ablating(bases[i, j]), [0, 1])
            assert seen[i, j].item() == pytest.approx(expected, abs=2e-4)
    assert top.shape == (3, 2)
    assert (seen[:, 0] - seen[:, 1]).abs().min() > 1e-4  # the first span changes something


def test_what_is_taken_out_directly_passes_no_block(family_model, bases):
    """After the last block there is nothing to pass; before it, the last state lacks what was taken out, and nothing else."""
    answers, last = interventions.read_answers(family_model, SEQUENCES), family_model.n_layers - 1
    torch.testing.assert_close(ablation.ablated_directly(family_model, answers, bases, last), ablation.ablated(family_model, answers, bases, last, last))
    direct = ablation.ablated_directly(family_model, answers, bases, 0)
    for i in range(3):
        lack = bases[i, 0] @ (bases[i, 0].T @ answers.states[i, 1])
        expected = family_model.normed((answers.states[i, -1] - lack)[None])[0]
        torch.testing.assert_close(direct[i, 0], expected, atol=1e-5, rtol=1e-4)


def test_patch_between_prompts_of_different_lengths_equals_hooks(family_model):
    """Aligned by role: the last position of one prompt takes the state of the last position of another, longer or shorter one."""
    answers = interventions.read_answers(family_model, SEQUENCES)
    order = torch.tensor([1, 2, 0])
    for layer in range(3):
        hidden = interventions.run_on(family_model, answers, torch.arange(3), layer, answers.states[order, layer + 1, None])
        seen, _ = interventions.log_odds(family_model, hidden[:, 0], torch.tensor(TARGETS))
        for i, ids in enumerate(SEQUENCES):
            state = plain.block_outputs(family_model, SEQUENCES[order[i]])[layer]
            assert seen[i].item() == pytest.approx(plain.log_odds(family_model, ids, TARGETS[i], lambda x, s=state: s, [layer]), abs=2e-4)


def test_a_patch_of_the_last_block_gives_the_other_output_and_one_of_itself_changes_nothing(tiny_model):
    answers = interventions.read_answers(tiny_model, SEQUENCES)
    order, last = torch.tensor([1, 2, 0]), tiny_model.n_layers - 1
    whole = lens.lens_logits(tiny_model, answers.states[:, -1])
    hidden = interventions.run_on(tiny_model, answers, torch.arange(3), last, answers.states[order, -1:])
    torch.testing.assert_close(hidden[:, 0] @ tiny_model.unembedding.T, whole[order], atol=1e-5, rtol=1e-5)
    for layer in range(-1, last + 1):
        hidden = interventions.run_on(tiny_model, answers, torch.arange(3), layer, answers.states[:, layer + 1, None])
        torch.testing.assert_close(hidden[:, 0] @ tiny_model.unembedding.T, whole, atol=1e-4, rtol=1e-4)


def test_siblings_do_not_see_each_other(tiny_model):
    answers = interventions.read_answers(tiny_model, SEQUENCES)
    states = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(1))
    together = interventions.run_on(tiny_model, answers, torch.arange(3), 0, states)
    for j in range(4):
        alone = interventions.run_on(tiny_model, answers, torch.arange(3), 0, states[:, j : j + 1])
        torch.testing.assert_close(together[:, j : j + 1], alone, atol=1e-5, rtol=1e-5)


def test_nothing_is_left_on_the_model(tiny_model, bases):
    answers, before = interventions.read_answers(tiny_model, SEQUENCES), [set(b._forward_hooks) for b in tiny_model.blocks]
    with pytest.raises(ValueError, match="cannot follow states after block 1"):
        interventions.run_on(tiny_model, answers, torch.arange(3), 1, answers.states[:, 2, None], {1: interventions.without(bases)})
    with pytest.raises(ZeroDivisionError):
        interventions.run_on(tiny_model, answers, torch.arange(3), 0, answers.states[:, 1, None], {1: lambda x: 1 / 0})
    # transformers keeps hooks of its own once a model was asked for its hidden states
    assert [set(b._forward_hooks) for b in tiny_model.blocks] == before and not any("forward" in vars(b) for b in tiny_model.blocks)


def test_prompts_without_an_answer_position_or_too_long_are_refused(tiny_model):
    with pytest.raises(ValueError, match="no answer position"):
        interventions.read_answers(tiny_model, [])
    with pytest.raises(ValueError, match="no answer position"):
        interventions.read_answers(tiny_model, [[]])
    with pytest.raises(Exception, match="longer than the attention window"):
        interventions.read_answers(tiny_model, [[2] * 600])
    assert len(interventions.read_answers(tiny_model, [[2]])) == 1  # one token, nothing before it


# --- directions and spans ---------------------------------------------------------------------------------------------


def test_without_its_direction_a_token_has_the_average_logit(family_model):
    """The identity behind the direction: for RMS and layer norms, biased or not, tied and scaled embeddings, with and without softcap."""
    ids, states = torch.tensor([10, 20, 30]), 3 * torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    basis = interventions.spans(interventions.token_directions(family_model, ids))
    normed = family_model.normed(interventions.without(basis)(states)) - family_model.normed(torch.zeros(1, 32))
    unembedding = family_model.unembedding
    left = normed @ unembedding[ids].T - (normed @ unembedding.T).mean(1, keepdim=True)
    before = family_model.normed(states) @ unembedding[ids].T
    assert left.abs().max() < 1e-5 < before.abs().max()


def test_directions_do_not_depend_on_the_input_embedding_or_the_scale_of_the_rows(tiny_model, tokenizer):
    from tests.conftest import make_network

    tied = LanguageModel("test:tied", "0" * 64, make_network("gemma3_text", tie_word_embeddings=True), tokenizer, "float32", torch.device("cpu"))
    assert tied.unembedding.data_ptr() == tied.network.get_input_embeddings().weight.data_ptr()  # tied, and scaled by √d on the way in
    expected = (tied.unembedding - tied.unembedding.mean(0)) * (1 + tied.final_norm.weight)
    found = interventions.token_directions(tied, range(400))
    torch.testing.assert_close(torch.nn.functional.normalize(found, dim=1), torch.nn.functional.normalize(expected, dim=1), atol=1e-5, rtol=1e-4)


def test_a_span_keeps_its_rank_whatever_is_repeated_scaled_or_padded():
    rows = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    repeated = torch.stack([rows[0], rows[1], 1e4 * rows[0], torch.zeros(16), rows[0] - 3 * rows[1]])
    basis = interventions.spans(repeated)
    assert basis.shape == (16, 5) and int((basis.norm(dim=0) > 0.5).sum()) == 2
    held = basis[:, basis.norm(dim=0) > 0.5]
    torch.testing.assert_close(held.T @ held, torch.eye(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(held @ held.T @ rows.T, rows.T, atol=1e-5, rtol=1e-4)  # it is the span of the rows
    once = interventions.without(basis)(rows * 7)
    assert once.abs().max() < 1e-4
    assert int((interventions.spans(torch.zeros(3, 16)).norm(dim=0) > 0).sum()) == 0
    near = torch.stack([rows[0], rows[0] + 1e-5 * rows[1]])  # below the tolerance: one direction
    assert int((interventions.spans(near).norm(dim=0) > 0.5).sum()) == 1


def test_spans_agree_with_singular_vectors():
    rows = torch.randn(6, 4, 24, generator=torch.Generator().manual_seed(2))
    basis = interventions.spans(rows)
    right = torch.linalg.svd(rows, full_matrices=False)[2]
    torch.testing.assert_close(basis @ basis.transpose(1, 2), right.transpose(1, 2) @ right, atol=1e-5, rtol=1e-4)


def test_log_odds_are_those_of_the_softmax(family_model):
    hidden = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([3, 5, 7, 9])
    odds, top = interventions.log_odds(family_model, hidden, ids)
    p = family_model.softcap(hidden @ family_model.unembedding.T).double().softmax(-1)[range(4), ids]
    torch.testing.assert_close(odds, (p / (1 - p)).log(), atol=1e-4, rtol=1e-4)
    assert top.tolist() == (hidden @ family_model.unembedding.T).argmax(-1).tolist()


# --- controls ---------------------------------------------------------------------------------------------------------


def facts(n=600, d=24, seed=0):
    random = np.random.default_rng(seed)
    directions = torch.nn.functional.normalize(torch.from_numpy(random.normal(size=(n, d))).float(), dim=1)
    texts = ["".join(random.choice(list("abcdefghijklmnop"), 7)) for _ in range(n)]
    classes = np.array(["latin", "latin after space", "han"])[np.arange(n) % 3]
    stems = {}
    for i, t in enumerate(texts):
        stems.setdefault(t[:4], []).append(i)
    return control_spans.TokenFacts(directions, random.uniform(1, 2, n), random.uniform(0, 5, n), np.log1p(np.arange(n)), texts, classes, stems)


def test_matched_tokens_are_of_the_same_kind_and_nearer_to_the_target_in_kind():
    known, pivots, target = facts(), [30, 33, 61], 99
    excluded = np.arange(100, 200)
    found = control_spans.match_tokens(known, pivots, target, excluded, 50)
    assert found.shape == (50, 3)
    assert (known.classes[found] == known.classes[pivots]).all()
    assert not set(found.ravel()) & {*excluded, *pivots, target}
    assert all(len(set(row)) == 3 for row in found) and len({tuple(r) for r in found}) == 50
    cosine = (known.directions @ known.directions[target]).numpy()
    pool = np.flatnonzero(known.classes == "latin")
    assert np.abs(cosine[found[:, 0]] - cosine[30]).mean() < np.abs(cosine[pool] - cosine[30]).mean() / 2


def test_matching_finds_a_twin():
    """A token that agrees with the pivot in everything but what it is is the first control."""
    known, pivot, target = facts(), 30, 99
    twin = 63  # of the same class
    directions, along = known.directions.clone(), known.directions[99]
    rest = directions[63] - (directions[63] @ along) * along
    c = directions[30] @ along
    directions[63] = c * along + (1 - c**2).sqrt() * rest / rest.norm()
    for values in (known.norm, known.frequency, known.rank):
        values[63] = values[30]
    known = control_spans.TokenFacts(directions, known.norm, known.frequency, known.rank, known.texts, known.classes, known.by_stem)
    assert twin in control_spans.match_tokens(known, [pivot], target, np.zeros(0, int), 1)


def test_matching_says_what_is_missing():
    with pytest.raises(ValueError, match="no pivot tokens"):
        control_spans.match_tokens(facts(), [], 5, np.zeros(0, int), 5)
    with pytest.raises(ValueError, match="only .* tokens of its kind"):
        control_spans.match_tokens(facts(), [30], 5, np.zeros(0, int), 500)


def test_transplanted_spans_have_the_geometry_of_the_pivots():
    generator = torch.Generator().manual_seed(0)
    pivots, donors = (torch.nn.functional.normalize(torch.randn(5, 3, 24, generator=generator), dim=-1) for _ in range(2))
    pivots[:, 2] = pivots[:, 1]  # linearly dependent
    target = torch.nn.functional.normalize(torch.randn(5, 24, generator=generator), dim=-1)
    states = torch.randn(5, 4, 24, generator=generator) * 30
    for kept in (target[:, None], torch.cat([target[:, None], states], 1)):
        made = control_spans.transplant(pivots, kept, donors)
        torch.testing.assert_close(made @ made.transpose(1, 2), pivots @ pivots.transpose(1, 2), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(made @ kept.transpose(1, 2), pivots @ kept.transpose(1, 2), atol=1e-4, rtol=1e-4)
        # nothing but the donors' content beside what is kept, and of the kept what the pivots have
        span = torch.linalg.qr(kept.transpose(1, 2))[0]
        beside = [x - x @ span @ span.transpose(1, 2) for x in (made, donors)]
        held = interventions.spans(beside[1])
        torch.testing.assert_close(beside[0] @ held @ held.transpose(1, 2), beside[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(made - beside[0], pivots @ span @ span.transpose(1, 2), atol=1e-5, rtol=1e-4)
    taken = [(states[:, 2] - interventions.without(interventions.spans(v))(states[:, 2])).norm(dim=-1) for v in (made, pivots)]
    torch.testing.assert_close(*taken, atol=1e-3, rtol=1e-4)
    with pytest.raises(ValueError, match="3 directions beside 22 vectors .* 24 dimensions"):
        control_spans.transplant(pivots, torch.randn(5, 22, 24), donors)


def test_pivots_written_like_source_or_target_are_no_pivots():
    known = facts()
    for i, text in enumerate(["table", "table", "desk", "tabl", "いぬ", "ta"]):
        known.texts[i], known.classes[i] = text, "kana" if i == 4 else "latin"
    assert control_spans.pivot_tokens(known, [0, 2, 3, 5, 2], ["Tables", "TABLE"], 6) == [
        2,
        5,
    ]  # whatever the case; `tabl` begins it, `ta` is too short to tell
    assert control_spans.pivot_tokens(known, [4, 2], ["イヌ"], 6) == [2]  # the same word in the other kana
    assert control_spans.pivot_tokens(known, [0, 1], ["table"], 6) == []
    assert control_spans.pivot_tokens(known, [2, 5], [], 1) == [2]
    known.__dict__.pop("pools", None)
    latin = int((known.classes == "latin").sum())
    # one kana token, which nothing can stand beside, and enough Latin ones
    assert control_spans.pivot_tokens(known, [4, 2], [], 6, n_controls=latin // 4) == [2]
    assert control_spans.pivot_tokens(known, [4, 2], [], 6, n_controls=latin // 4 + 1) == []


def test_spans_are_projected_out_whole_also_where_the_body_is_in_bfloat16():
    basis, state = torch.linalg.qr(torch.randn(64, 3, generator=torch.Generator().manual_seed(0)))[0], torch.randn(5, 64)
    with torch.autocast("cpu", torch.bfloat16):
        left = interventions.without(basis)(state)
    assert (left.double() @ basis.double()).abs().max() < 1e-5


def test_related_words_share_a_beginning_or_a_character():
    known = facts()
    known.by_stem.clear()
    known.by_stem.update({"amit": [1], "校": [2, 3], "いぬ": [4]})
    assert known.related(["amitié", "学校", "イヌ"]).tolist() == [1, 2, 3, 4]
    assert known.related([]).tolist() == []


# --- from items to a table ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subject(tokenizer):
    """A tiny model on toy words, all of which start with a token of their own."""
    from tests.conftest import make_network

    lm = LanguageModel("test:llama", "0" * 64, make_network("llama"), tokenizer, "float32", torch.device("cpu"))
    rows = []
    for i in range(24):
        # one letter is one token in the toy tokenizer; English and "Chinese" words of the tested concepts share none
        letter = chr(ord("a") + i % 12)
        words = {"en": letter, "fr": f"y{letter}", "zh": chr(ord("m") + i % 12), "ja": f"z{letter}"}
        row = {"concept_id": f"c{i}.n", "pos": "n", "bijective": True, "conflicts": [], "split": "test" if i < 12 else "demo"}
        rows.append(row | words | {f"zipf_{la}": 4.0 for la in task.LANGUAGES} | {f"valid_{la}": [words[la]] for la in task.LANGUAGES})
    lexicon = pd.DataFrame(rows).set_index("concept_id", drop=False)
    concepts = lexicon[:12]
    forms = Vocabulary(tuple(lexicon.concept_id), tuple(task.LANGUAGES), tuple(tuple((w.lower(),) for w in lexicon[la]) for la in task.LANGUAGES))
    pairs = [("fr", "zh"), ("fr", "en"), ("zh", "en"), ("ja", "en")]
    prompts = {p: task.build_prompts(lexicon, p, 2, 0, concepts.index) for p in pairs}
    known = control_spans.token_facts(lm, ["abc def", "ABC"] * 3)
    for i in range(400):  # every token passes for a word, or nothing could be matched in so small a vocabulary
        known.classes[i] = "latin"
    return subjects.Subject(lm, lexicon, forms, known, prompts)


@pytest.fixture
def items(subject):
    rows = subject.lexicon[:12]
    table = pd.DataFrame({"source_lang": "fr", "target_lang": "zh", "concept_id": rows.concept_id, "source_word": rows.fr, "target_word": rows.zh})
    return table.assign(correct=[False, True] * 6).reset_index(drop=True)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    return artifacts.Store("test")


PLAN = ablation.Plan(0, 1, (0, 2), n_controls=6, n_built=3, n_shuffled=2, n_second=4, n_few=2, n_few_concepts=5, doses=(1, 2))


def test_ablations_beside_their_controls(subject, items, store):
    # the last item has none; of the second set only the first items are looked at
    pivots = {"english": [[300 + i, 320 + i] for i in range(11)] + [[]], "discovered": [[340 + i, 341 + i] for i in range(12)]}
    table = ablation.ablate_pairs(subject, items, pivots, PLAN, {"zh": ["abcdefghijkl" * 2] * 3}, store)
    main = table[(table.experiment == "main") & (table.span == "english")]
    assert main.groupby("control").size().to_dict() == {"own": 11, "matched": 66, "transplanted": 33, "equal removal": 33, "shuffled": 22}
    second = table[table.span == "discovered"]
    sizes = {"own": 4, "matched": 24, "transplanted": 12, "equal removal": 12, "shuffled": 8}
    assert second[second.experiment == "main"].groupby("control").size().to_dict() == sizes and set(second.experiment) == {"main", "held"}
    assert set(table[table.span == "discovered beside target"].control) == {"own", "matched", "equal removal"}
    assert "c11.n" not in set(main.concept_id) and "c11.n" in set(table[table.span == "target"].concept_id)
    assert table[table.experiment == "layer"].layer.unique().tolist() == [0, 2]
    assert set(table.experiment) == {"main", "layer", "direct", "held", "dose", "kl own", "kl other", "kl text"}
    assert (table[table.experiment.str.startswith("kl")].delta > -1e-5).all() and table.removed.dropna().between(0, 1 + 1e-6).all()
    beside = effects.item_table(table)
    rest = beside[(beside.kind == effects.LATER) & (beside.control == "transplanted")]
    assert rest.groupby("what").size().to_dict() == {"english": 11, "discovered": 4}
    built = table[(table.span == "english") & (table.control == "transplanted") & (table.concept_id == "c3.n")].set_index(["experiment", "number"]).delta
    assert rest[rest.what == "english"].set_index("concept_id").control_mean["c3.n"] == pytest.approx((built["main"] - built["held"]).mean(), abs=1e-5)
    # at whatever block a span is removed, these controls take as much out of the state as the pivots do, also with the part along the target left in
    taken = table[table.control.isin(["own", "equal removal"]) & table.experiment.isin(["main", "layer", "direct", "held"])]
    taken = taken[taken.span.isin(["english", "english beside target", "discovered"])]
    wide = taken.groupby(["experiment", "span", "layer", "concept_id", "control"]).removed.agg(["min", "max"]).unstack("control").dropna()
    np.testing.assert_allclose(wide["min", "equal removal"], wide["max", "own"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(wide["max", "equal removal"], wide["max", "own"], rtol=1e-3, atol=1e-5)
    assert len(wide) > 60 and (wide["max", "own"] > 0.01).any()
    one = beside[(beside.kind == "ablation") & (beside.what == "english") & (beside.control == "matched")].set_index("concept_id").loc["c3.n"]
    own = main[(main.concept_id == "c3.n") & (main.control == "own")].delta.item()
    controls = main[(main.concept_id == "c3.n") & (main.control == "matched")].delta
    assert one.delta_logodds == own and one.control_mean == pytest.approx(controls.mean()) and one.n_controls == 6
    assert one.p == pytest.approx((1 + (controls <= own).sum()) / 7)
    ends = beside[(beside.kind == "ablation") & (beside.what == "english") & (beside.control == "target span")].set_index("concept_id")
    taken = table[(table.experiment == "main") & (table.span == "target")].set_index("concept_id").delta
    assert len(ends) == 11 and ends.control_mean.to_dict() == {c: taken[c] for c in ends.index} and ends.loc["c3.n"].delta_logodds == own
    found = effects.effects(beside, 100, 99)
    row = found[(found.kind == "ablation") & (found.what == "english") & (found.control == "matched") & (found.direction == "all")]
    assert row.n.item() == 11 and row.difference.item() == pytest.approx(row["mean"].item() - row.control_mean.item())
    assert len(store.write("interventions", beside))  # it has the columns of its schema
    again = ablation.ablate_pairs(subject, items, pivots, PLAN, {"zh": ["abcdefghijkl" * 2] * 3}, store)
    pd.testing.assert_frame_equal(again, table)
    spelled = effects.by_spelling(beside.assign(target_lang="fr"), subject.lexicon, 50, 99)
    assert (
        spelled.n.sum() == 5 * 11
        and set(spelled.control) == {"matched", "transplanted", "equal removal"}
        and effects.by_spelling(beside, subject.lexicon.assign(zh="犬")).empty
    )
    balance = effects.balance_table(table)
    assert balance.groupby("control").covariate.nunique().to_dict() == {"matched": 7, "shuffled": 7, "transplanted": 1, "equal removal": 1}
    assert balance[balance.control == "equal removal"].difference.abs().max() < 1e-3


def test_the_part_beside_the_target_leaves_the_targets_logit_at_the_last_block(subject, items, store):
    """After the last block nothing follows: what is orthogonal to the target changes its odds only by the norm and the other tokens."""
    sequences, first = interventions.answer_sequences(subject.lm, subject.prompts["fr", "zh"][0], items.source_word.tolist(), items.target_word.tolist())
    answers, last = interventions.read_answers(subject.lm, sequences), subject.lm.n_layers - 1
    target = subject.facts.directions[first]
    rest = subject.facts.directions[torch.arange(300, 312)]
    rest = rest - (rest * target).sum(1, keepdim=True) * target
    state = interventions.without(interventions.spans(rest[:, None]))(answers.states[:, last + 1])
    torch.testing.assert_close((state * target).sum(1), (answers.states[:, last + 1] * target).sum(1), atol=1e-4, rtol=1e-4)


def test_an_equal_removal_changes_the_targets_own_logit_alike(subject, items):
    """With all blocks held, pivots and what is built to remove as much differ in what other tokens lose, not in the target's logit above the mean of all."""
    lm, facts = subject.lm, subject.facts
    sequences, first = interventions.answer_sequences(lm, subject.prompts["fr", "zh"][0], items.source_word.tolist()[:1], items.target_word.tolist()[:1])
    answers, target = interventions.read_answers(lm, sequences), facts.directions[first]
    pivots, donors = facts.directions[[300, 320]][None], facts.directions[[340, 360]][None]
    built = {"all": torch.cat([target, answers.states[0, 1:]])[None], "target": target[None]}
    built = {name: control_spans.transplant(pivots, kept, donors) for name, kept in built.items()}
    bases = interventions.spans(torch.cat([pivots, built["all"], built["target"]]))[None]
    for layer in range(lm.n_layers):
        hidden = ablation.ablated_directly(lm, answers, bases, layer)[0]
        logits = hidden @ lm.unembedding.T
        own, equal, nearness = (logits[:, first[0]] - logits.mean(1)).tolist()
        assert equal == pytest.approx(own, abs=1e-4) and abs(nearness - own) > 1e-3
        assert (logits[0] - logits[1]).abs().max() > 1e-2


def test_patches_follow_the_other_concept_and_language_after_the_last_block(subject, items, store):
    table = patching.patch_pairs(subject, items, [0, 2], "en", store)
    assert set(table.kind) == {"none", *patching.KINDS} and (table.concept_id != table.donor).all()
    assert len(table) == 12 * (1 + 2 * 5)
    last = table[table.layer == 2].set_index(["kind", "concept_id"])
    before = table[table.layer == -1].set_index("concept_id")
    for row in before.itertuples():
        # after the last block the state is all there is: the output is that of the donor's own run
        assert last.p_1[("concept", row.Index)] == pytest.approx(before.p_0[row.donor], abs=1e-5)
    assert (table[table.kind == "none"].delta == 0).all()
    curves = effects.patch_curves(table, 50)
    assert set(curves.measure) == {*(f"p_{c}" for c in range(4)), "concept", "language"}
    found = effects.crossings(table, n_resamples=20)
    assert set(found.measure) <= {"concept", "language", "concept − language"}
    at = found[found.kind == "both"].set_index("measure").layer
    assert at["concept − language"] == pytest.approx(at["concept"] - at["language"], nan_ok=True)
    with pytest.raises(ValueError, match="also a language of the items"):
        patching.patch_pairs(subject, items, [0], "zh", store)
    with pytest.raises(ValueError, match="layer 7"):
        patching.patch_pairs(subject, items, [7], "en", store)


def test_steering_starts_from_what_fails(subject, items, store):
    pivots = [[300 + i, 320 + i] for i in range(12)]
    plan = patching.Steering(0, (0.1, 0.5), n_matched=3, n_transplanted=2, n_random=2)
    table = patching.steer_pairs(subject, items, pivots, plan, store)
    assert set(table.concept_id) == set(items.concept_id[~items.correct])
    assert table.groupby("control").size().to_dict() == {"own": 12, "matched": 36, "transplanted": 24, "random": 24}
    own = table[table.control == "own"].set_index(["concept_id", "dose"]).cosine
    built = table[table.control == "transplanted"].set_index(["concept_id", "dose"]).cosine
    np.testing.assert_allclose(built, own.loc[built.index], atol=1e-5)
    assert set(effects.steering_shares(table, 20).measure) == {"right", "english"}
    nothing = patching.steer_pairs(subject, items.assign(correct=True), pivots, plan, store)
    assert nothing.empty and set(nothing) == set(table)
    pd.testing.assert_series_equal(pd.concat([nothing, table], ignore_index=True).dtypes, table.dtypes)
    assert effects.steering_shares(nothing, 20).empty
    with pytest.raises(ValueError, match="doses are positive"):
        patching.steer_pairs(subject, items, pivots, patching.Steering(0, (0.0,)), store)


def test_one_word_is_followed_as_the_items_are(subject, items, store, monkeypatch):
    monkeypatch.setattr(ablation, "read_forms", lambda rows: subject.forms)
    monkeypatch.setattr(ablation, "pivot_tokens", lambda *a: [300, 320])
    followed = ablation.follow_word(subject, "c3.n", [("fr", "zh")], PLAN)
    table = ablation.ablate_pairs(subject, items, {"english": [[300, 320]] * 12}, PLAN, {"zh": ["abcdefghijkl" * 2] * 3}, store)
    expected = effects.item_table(table)
    expected = expected[(expected.kind == "ablation") & (expected.what == "english") & (expected.control == "matched")].set_index("concept_id").loc["c3.n"]
    assert followed.delta.item() == pytest.approx(expected.delta_logodds, abs=1e-4) and followed.control_mean.item() == pytest.approx(
        expected.control_mean, abs=1e-4
    )
    assert followed.p.item() == pytest.approx(expected.p) and len(followed.taken_out.item()) == 2
    monkeypatch.setattr(ablation, "pivot_tokens", lambda *a: [])
    assert np.isnan(ablation.follow_word(subject, "c3.n", [("fr", "zh")], PLAN).delta.item())
    with pytest.raises(ValueError, match="not in the lexicon"):
        ablation.follow_word(subject, "nowhere.n", [("fr", "zh")], PLAN)
    with pytest.raises(ValueError, match="is a demonstration"):
        ablation.follow_word(subject, subject.prompts["fr", "zh"][0].demonstrations[0], [("fr", "zh")], PLAN)


def test_plans_keep_the_last_block_free():
    plan = ablation.Plan.at(18, 0.67, 0.9)
    assert (plan.first, plan.last, plan.layers) == (12, 16, tuple(range(10, 18)))
    assert ablation.Plan.at(6, 0.67, 1.0).last == 4
    assert patching.layers_to_patch(18, 12) == [1, 3, 5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    assert patching.layers_to_patch(6, 4) == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="the lower first"):
        ablation.Plan.at(18, 0.9, 0.5)


def test_bad_plans_are_refused(subject, items, store):
    with pytest.raises(ValueError, match="the model has blocks 0…2"):
        ablation.ablate_pairs(subject, items, {"english": [[300]] * 12}, ablation.Plan(0, 3, ()), {"zh": []}, store)
    with pytest.raises(ValueError, match="no concept can be read"):
        empty = pd.DataFrame(columns=["source_lang", "target_lang", "concept_id", "source_word", "target_word"])
        traces = pd.DataFrame(columns=["lens", "prompt_set", "layer", "source_lang", "target_lang", "concept_id", "overlap", "readable", "top1_is_accepted"])
        subjects.choose_items(empty, traces, [("fr", "zh")], 3)


def test_sign_flip_is_exact_for_few_and_blind_to_zero():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    exact = 2 / 16  # only all plus and all minus reach the sum
    assert association.sign_flip(values, 40000, 0) == pytest.approx(exact, abs=0.01)
    assert association.sign_flip(np.zeros(5), 99, 0) == 1.0
    assert np.isnan(association.sign_flip(np.zeros(0), 99, 0))
