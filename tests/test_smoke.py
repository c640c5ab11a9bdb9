"""End to end: every notebook with the real default model, in small."""

import pandas as pd
import pytest

from semantic_pivots import run
from semantic_pivots.artifacts import SCHEMAS, Store

pytestmark = pytest.mark.smoke


def test_smoke_profile_runs_and_the_model_can_translate(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTIC_PIVOTS_RESULTS", str(tmp_path))
    assert run.main(["--profile", "smoke"]) == 0
    store = Store("smoke")
    ability = store.read("ability")
    scores = store.read("scores")
    main = ability[ability.model == "packaged:gemma-3-270m"]
    assert len(main) == 12 and (main.n == 12).all()
    assert main.mrr.mean() > 0.7  # chance is 0.293: the real model, not a broken copy of it
    assert scores.p_target.between(0, 1).all() and scores["rank"].between(1, 10).all()
    for pair, group in scores.groupby(["model", "source_lang", "target_lang"]):
        row = ability.set_index(["model", "source_lang", "target_lang"]).loc[pair]
        assert row.mean_score == pytest.approx((group.p_target - [p.mean() for p in group.p_distractors]).mean())
    manifest = store.manifest()["tables"]
    assert {"prompts", "scores", "ability"} <= set(manifest) and set(manifest) >= set(SCHEMAS) & set(manifest)
    assert all(len(m["checksum"]) == 64 and m["dtype"] for m in manifest["scores"]["models"])
    assert isinstance(pd.read_csv(tmp_path / "smoke" / "figures" / "01_ability_matrix.csv"), pd.DataFrame)
    for name in ("01_ability_matrix", "01_ability_measures"):
        assert (tmp_path / "smoke" / "figures" / f"{name}.png").stat().st_size > 10_000
