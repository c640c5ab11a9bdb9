"""Does the result depend on a choice? The AUC of the pair count under every reasonable way to label the two behaviors.

A specification curve (Simonsohn, Simmons and Nelson 2020, doi:10.1038/s41562-020-0912-z): the same question asked under
every combination of rule, layers left out, least information, correctness, lens and prompt set.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from . import association, attribution, behavior
from .progress import progress

__all__ = ["curve"]


def curve(traces: pd.DataFrame, counts: pd.DataFrame, n_resamples: int = 500, n_permutations: int = 200, seed: int = 0) -> pd.DataFrame:
    """AUC of log n_both for co-occurrence against pivot behavior, over all directions, under each specification.

    Args:
        traces: of one model; lenses and prompt sets in it are choices as well.
        counts: the table ``cooccurrence`` of one corpus.

    Returns:
        One row a specification, in order of the AUC: specification (its name), lens, prompt_set, rule, exclude_last, min_information, check, n_pos, n_neg, pivot_share (of pivot
        among the two), auc, low, high (concepts resampled), null (mean AUC with labels shuffled within frequency
        cells: what word frequency alone gives), p_perm (one-sided). Undefined values are null.
    """
    rows = []
    groups = list(traces.groupby(["lens", "prompt_set"], sort=False, observed=True))
    labelled = [(key, name, part) for key, group in groups for name, part in behavior.specifications(group).groupby("specification", sort=False)]
    for (lens, prompt_set), name, part in progress(labelled, "specifications"):
        used = attribution.labelled(part, counts)
        used = used[used.used]
        first = part.iloc[0]
        row = {"specification": name, "lens": lens, "prompt_set": int(prompt_set)}
        row |= {c: first[c] for c in ("rule", "exclude_last", "min_information", "check")}
        row |= {
            "n_pos": int(used.positive.sum()),
            "n_neg": int((~used.positive).sum()),
            "pivot_share": float(1 - used.positive.mean()) if len(used) else np.nan,
        }
        if row["n_pos"] and row["n_neg"]:
            concepts, cells = used.concept_id.to_numpy(), attribution.frequency_cells(used)
            estimate = association.auc_interval(used.log_both, used.positive, concepts, n_resamples=n_resamples, seed=seed)
            drift = attribution.frequency_drift(used)
            p, null = association.permutation_within(used.log_both, used.positive, cells, n_permutations, "greater", seed, concepts, drift)
            row |= dict(zip(("auc", "low", "high"), estimate)) | {"null": null, "p_perm": p}
        rows.append(row)
    table = pd.DataFrame(rows)
    return (
        table.sort_values("auc", ignore_index=True, kind="stable")
        if "auc" in table
        else table.assign(auc=np.nan, low=np.nan, high=np.nan, null=np.nan, p_perm=np.nan)
    )
