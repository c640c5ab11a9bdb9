"""End to end: every notebook with the real default model, in small."""

import pandas as pd
import pytest

from semantic_pivots import run
from semantic_pivots.artifacts import Store

pytestmark = pytest.mark.smoke


def test_smoke_profile_runs_and_the_model_can_translate(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    assert run.main(["--profile", "smoke"]) == 0
    store = Store("smoke")
    ability = store.read("ability")
    scores = store.read("scores")
    main = ability[ability.model == "packaged:gemma-3-270m"]
    assert set(main.source_lang + "-" + main.target_lang) == {"fr-en", "fr-ja", "ja-en"} and (main.n == 8).all()
    assert main.mrr.mean() > 0.7  # chance is 0.293: the real model, not a broken copy of it
    assert scores.p_target.between(0, 1).all() and scores["rank"].between(1, 10).all()
    for pair, group in scores.groupby(["model", "source_lang", "target_lang"]):
        row = ability.set_index(["model", "source_lang", "target_lang"]).loc[pair]
        assert row.mean_score == pytest.approx((group.p_target - [p.mean() for p in group.p_distractors]).mean())
    manifest = store.manifest()["tables"]
    assert {t for s in run.find_stages() for t in s.writes} == set(manifest)
    assert all(len(m["checksum"]) == 64 and m["dtype"] for m in manifest["scores"]["models"])
    assert isinstance(pd.read_csv(tmp_path / "smoke" / "figures" / "01_ability_matrix.csv"), pd.DataFrame)
    for name in ("01_ability_matrix", "01_ability_measures"):
        assert (tmp_path / "smoke" / "figures" / f"{name}.png").stat().st_size > 10_000

    traces = store.read("traces")
    last = traces[(traces.model == "packaged:gemma-3-270m") & (traces.lens == "raw") & (traces.layer == 17)]
    assert len(last) == 3 * 8 and last.information.mean() > 1  # the last block knows the word
    assert last.merge(scores, on=["model", "source_lang", "target_lang", "concept_id"]).eval("p_target_x <= 1 and p_target_y > 0").all()
    counts = store.read("cooccurrence")
    assert set(counts.corpus) == {"corpus", "by language", "any translation", "with dictionary"} and counts.complete.all()
    assert (counts.n_both <= counts[["n_source", "n_target"]].min(axis=1)).all() and counts.n_both.max() > 20
    own, every = (counts[counts.corpus == c].reset_index(drop=True) for c in ("by language", "corpus"))
    assert (own.n_both <= every.n_both).all()
    assert set(store.read("attribution").source_lang) >= {"all", "fr", "ja"}
    assert (tmp_path / "smoke" / "notebooks" / "03_behavior_attribution.ipynb").is_file()

    severance = store.read("severance")
    assert (severance[severance.cut].n_both_after == 0).all() and severance[~severance.cut].n_both_after.median() > 3
    known = ability[ability.model == "known-corpus"]
    assert len(known) == 3 and known.mrr.mean() > 0.32  # far from fluent, above chance
    assert store.read("checkpoint_scores").model.nunique() >= 6
