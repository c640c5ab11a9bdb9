import pytest

from semantic_pivots import task


def test_distractors_are_nine_other_words_of_the_same_kind(lexicon):
    concepts = task.draw_concepts(lexicon, 20, seed=3)
    items = task.build_items(lexicon, concepts, ("fr", "zh"), seed=3)
    by_word = lexicon.set_index("fr")
    for item in items.itertuples():
        assert len(set(item.distractors)) == 9 and item.source_word not in item.distractors
        for word in item.distractors:
            assert by_word.loc[word].pos == lexicon.loc[item.concept_id].pos
            assert abs(by_word.loc[word].zipf_fr - lexicon.loc[item.concept_id].zipf_fr) <= task.ZIPF_WINDOW
            assert by_word.loc[word].split == "test"


def test_conflicts_and_accepted_words_are_no_distractors(lexicon):
    concepts = task.draw_concepts(lexicon, 20, seed=3)
    first = concepts.concept_id.iloc[0]
    others = [c for c in lexicon[lexicon.pos == lexicon.loc[first].pos].concept_id if c != first]
    changed = lexicon.copy()
    changed.at[first, "conflicts"] = others[:5]
    changed.at[first, "valid_fr"] = [changed.loc[first].fr, changed.loc[others[6]].fr]
    pool = task.Pool(changed, ["test"])
    eligible = set(pool.table.index[pool.eligible(first, "fr")])
    assert not eligible & {first, *others[:5], others[6]}
    assert eligible


def test_too_few_distractors(lexicon):
    concepts = task.draw_concepts(lexicon, 20, seed=3)
    changed = lexicon.copy()
    changed.at[concepts.concept_id.iloc[0], "zipf_fr"] = 1.0
    with pytest.raises(ValueError, match=r"\(fr-zh\): only 0 of 9 distractors"):
        task.build_items(changed, concepts, ("fr", "zh"), seed=3)
    assert concepts.concept_id.iloc[0] not in task.draw_concepts(changed, 20, seed=3).index


def test_draws_are_nested_and_repeatable(lexicon):
    small, large = (task.draw_concepts(lexicon, n, seed=5) for n in (10, 30))
    assert list(large.index[:10]) == list(small.index)
    assert list(small.index) != list(task.draw_concepts(lexicon, 10, seed=6).index)


@pytest.mark.parametrize(("n", "message"), [(0, "at least two"), (1, "at least two"), (61, "holds only 60 concepts")])
def test_sets_of_impossible_size(lexicon, n, message):
    with pytest.raises(ValueError, match=message):
        task.draw_concepts(lexicon, n, seed=0)


def test_empty_item_set(lexicon):
    with pytest.raises(ValueError, match="0 concepts: at least two"):
        task.build_items(lexicon, lexicon.head(0), ("en", "fr"), seed=0)


def test_prompts_are_the_papers(lexicon):
    first, second = task.build_prompts(lexicon, ("en", "ja"), 2, seed=0)
    text = first.text("dog") + first.joiner + "犬"
    assert text.startswith("Please translate words from English to Japanese.\n\nEnglish: ")
    assert text.endswith("\n\nEnglish: dog\nJapanese: 犬")
    assert text.count("English: ") == task.N_DEMONSTRATIONS + 1
    assert not set(first.demonstrations) & set(second.demonstrations)
    assert set(lexicon.loc[list(first.demonstrations)].split) == {"demo"}
    assert task.build_prompts(lexicon, ("fr", "zh"), 2, seed=0)[0].demonstrations == first.demonstrations


def test_braces_in_words_are_words(lexicon):
    assert "{0}" in task.build_prompts(lexicon, ("en", "ja"), 1, seed=0)[0].text("{0}")


def test_a_demonstration_among_the_items_is_named(lexicon):
    with pytest.raises(ValueError, match="is also a test item"):
        task.build_prompts(lexicon, ("en", "ja"), 4, seed=0, exclude=lexicon.index)


def test_too_many_prompt_sets(lexicon):
    with pytest.raises(ValueError, match="5 prompt sets need 25 demonstrations, the lexicon has 20"):
        task.build_prompts(lexicon, ("en", "ja"), 5, seed=0)


def test_pairs():
    assert task.parse_pairs(["en", "fr"], ["fr", "ja"]) == [("en", "fr"), ("en", "ja"), ("fr", "ja")]
    assert task.parse_pairs(pairs=["en-fr", "en-fr", "ja-zh"]) == [("en", "fr"), ("ja", "zh")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["en"], ["de"]), "unknown language 'de'; known: en, fr, zh, ja"),
        ((["en"], ["en"]), "no pair of two different languages"),
        ((None, None, ["en-xx"]), "unknown language 'xx'"),
        ((None, None, ["enfr"]), "'enfr' is not a pair"),
        ((None, None, ["en-en"]), "'en-en' is not a pair"),
    ],
)
def test_bad_pairs(arguments, message):
    with pytest.raises(ValueError, match=message):
        task.parse_pairs(*arguments)


def test_a_lexicon_without_a_column_is_named(lexicon, tmp_path):
    lexicon.drop(columns=["zipf_ja"]).to_parquet(tmp_path / "l.parquet", index=False)
    with pytest.raises(ValueError, match="lacks the columns zipf_ja"):
        task.read_lexicon(tmp_path / "l.parquet")


@pytest.mark.parametrize("name", list(task.FORMATS))
def test_prompt_formats_repeat_their_pattern(lexicon, name):
    """A demonstration is written as the item and its target would be."""
    prompt = task.build_prompts(lexicon, ("en", "fr"), 1, seed=0, prompt_format=name)[0]
    form = task.FORMATS[name]
    last = lexicon.loc[prompt.demonstrations[-1]]
    assert prompt.prefix.endswith(prompt.line.replace("{word}", last.en) + prompt.joiner + last.fr + form.end)
    assert prompt.prefix.startswith(form.instruction.format(source="English", target="French"))


def test_unknown_prompt_format(lexicon):
    with pytest.raises(ValueError, match="unknown prompt format 'x'; known: instruction"):
        task.build_prompts(lexicon, ("en", "fr"), 1, seed=0, prompt_format="x")
