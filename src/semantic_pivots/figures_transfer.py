"""Figures of the dataset reconstruction. Plot functions take a table and return ``fig, ax``; nothing is computed here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .figures import COLORS
from .task import LANGUAGES

__all__ = ["ARM_STYLE", "arm_name", "composition", "overlap", "learning", "forest", "cost", "by_direction", "replication"]

# color, marker, line: arms are also told apart without color
ARM_STYLE = {
    "none": ("0.35", "x", ":"), "random": ("0.6", "+", ":"), "matched": (COLORS[5], "s", "--"), "matched_paper": (COLORS[4], "D", "--"), "bilingual": (COLORS[2], "^", "-."),
    "direct": (COLORS[3], "v", "-."), "pivot_paper": (COLORS[1], "P", "-"), "pivot_npmi": (COLORS[0], "o", "-"), "anti_pivot": ("0.2", "X", ":"),
}  # fmt: skip
NAMES = {
    "none": "no further training", "random": "random", "matched": "matched to our pivots", "matched_paper": "matched to the paper's pivots", "bilingual": "mixed documents",
    "direct": "translations meet", "pivot_paper": "the paper's pivots", "pivot_npmi": "our pivots", "anti_pivot": "few pivots", "pivot_mixed": "pivots, mixed documents",
    "pivot_english": "pivots, English", "pivot_content": "pivots, lexicon words", "pivot_sharp": "pivots, a quarter", "pivot_soft": "pivots, drawn", "pivot_placebo": "words that are no pivots",
}  # fmt: skip
OUTCOME_NAMES = {
    "log_ratio": "log-ratio (nats)",
    "score": "Score",
    "mrr": "MRR",
    "top1": "top-1",
    "sentence_gain": "sentence gain (nats per token)",
    "chrf": "chrF++",
}
SPLIT_NAMES = {"heldout": "held-out words", "never": "held out, never met here", "seen": "words that may meet"}


def arm_name(arm: str) -> str:
    """An arm in words."""
    return NAMES.get(arm) or (f"matched to {NAMES.get('pivot_' + arm.removeprefix('matched_'), arm)}" if arm.startswith("matched_") else arm)


def _style(arm: str) -> tuple:
    return ARM_STYLE.get(arm, (COLORS[6], "*", "-"))


def composition(table: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """What the arms are made of: languages, kinds of documents, pivots; one row an arm.

    Args:
        table: of ``arms.composition``.
    """
    fig, axes = plt.subplots(1, 3, figsize=(10.5, 0.36 * len(table) + 1.5), sharey=True, layout="constrained", width_ratios=[1.5, 1, 1])
    y = np.arange(len(table))
    left = np.zeros(len(table))
    for la, color, hatch in zip(LANGUAGES, (COLORS[0], COLORS[5], COLORS[1], COLORS[4]), ("", "//", "", "..")):
        axes[0].barh(y, table[f"share_{la}"], left=left, color=color, edgecolor="white", hatch=hatch, lw=0.5, label=LANGUAGES[la])
        left += table[f"share_{la}"].to_numpy()
    axes[0].set(xlabel="share of tokens", xlim=(0, 1))
    axes[0].set_yticks(y, [arm_name(a) for a in table.arm])
    axes[0].invert_yaxis()
    axes[1].plot(table.share_mixed, y, "o", color=COLORS[0], label="tokens in documents of several languages")
    axes[1].plot(table.top_source_share, y, "s", mfc="white", color=COLORS[1], label="tokens from the largest source")
    axes[1].set(xlabel="share of tokens", xlim=(-0.03, 1.03))
    axes[2].plot(table.pivots_npmi, y, "o", color=COLORS[0], label="our pivots")
    axes[2].plot(table.pivots_paper, y, "s", mfc="white", color=COLORS[1], label="the paper's pivots")
    axes[2].set(xlabel="mean share of a document's words", xlim=(0, None))
    for ax in axes:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2 if ax is axes[0] else 1, fontsize=7.5, columnspacing=1)
        ax.grid(axis="y", color="0.93", zorder=0)
    return fig, axes


def overlap(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """How much of an arm's text (row) another arm (column) holds too.

    Args:
        table: of ``arms.overlap``.
    """
    names = [arm_name(a) for a in table.index]
    fig, ax = plt.subplots(figsize=(0.62 * len(names) + 2.6, 0.42 * len(names) + 1.8), layout="constrained")
    image = ax.imshow(table.to_numpy(), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(table.shape):
        value = table.iloc[i, j]
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color="white" if value < 0.55 else "black")
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    fig.colorbar(image, ax=ax, label="share of the row's tokens", shrink=0.9)
    return fig, ax


def learning(training: pd.DataFrame, kinds: dict[str, str]) -> tuple[Figure, np.ndarray]:
    """Validation losses by tokens read, a panel a language and kind of text; bands reach from the lowest to the highest seed.

    Args:
        training: arm, seed, tokens and the losses `val_en` …; the base's line has no tokens.
        kinds: titles of the kinds of text (`val`, `parallel`).
    """
    known = training.dropna(subset=[f"{next(iter(kinds))}_en"]).copy()
    known["point"] = known.groupby(["arm", "seed"]).cumcount()
    start = known[known.arm == "none"]
    fig, axes = plt.subplots(len(kinds), len(LANGUAGES), figsize=(10.5, 2.4 * len(kinds) + 0.6), sharex=True, layout="constrained", squeeze=False)
    for row, (kind, title) in enumerate(kinds.items()):
        for ax, (la, name) in zip(axes[row], LANGUAGES.items()):
            column = f"{kind}_{la}"
            for arm, part in known[known.arm != "none"].groupby("arm", sort=False):
                spread = part.groupby("point").agg(tokens=("tokens", "mean"), low=(column, "min"), mean=(column, "mean"), high=(column, "max"))
                x, (color, marker, line) = np.r_[0, spread.tokens] / 1e3, _style(arm)
                first = start[column].iloc[0]
                ax.plot(x, np.r_[first, spread["mean"]], color=color, marker=marker, ls=line, ms=4.5, lw=1.3, label=arm_name(arm))
                ax.fill_between(x, np.r_[first, spread.low], np.r_[first, spread.high], color=color, alpha=0.18, lw=0)
            ax.set_title(name if row == 0 else "", fontsize=9)
            ax.yaxis.set_major_locator(MaxNLocator(4))
        axes[row, 0].set_ylabel(f"{title}\nnats per token", fontsize=8.5)
    for ax in axes[-1]:
        ax.set_xlabel("thousand tokens read")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=8)
    return fig, axes


INTERVALS = (
    Line2D([], [], color="0.45", lw=3.2, alpha=0.65, label="95 % over concepts"),
    Line2D([], [], color="0.45", lw=1, label="95 % over concepts and runs"),
)


def _intervals(ax: Axes, row: pd.Series, y: float, color: str) -> None:
    ax.plot([row.mixed_low, row.mixed_high], [y, y], color=color, lw=1)
    ax.plot([row.ci_low, row.ci_high], [y, y], color=color, lw=3.2, solid_capstyle="butt", alpha=0.65)


def forest(contrasts: pd.DataFrame, outcome: str = "log_ratio", splits: tuple[str, ...] = ("heldout", "never", "seen")) -> tuple[Figure, np.ndarray]:
    """Differences of arms with 95 % intervals, a panel a set of words: thick over concepts, thin over concepts and runs (mixed model).

    Args:
        contrasts: of ``comparison.contrasts``; ``confirmatory`` marks what was fixed before the runs, which stands first.
    """
    rows = contrasts[(contrasts.outcome == outcome) & contrasts.split.isin(splits)]
    fixed = set(rows.loc[rows.confirmatory, ["arm", "reference"]].itertuples(index=False, name=None))
    pairs = sorted(dict.fromkeys(zip(rows.arm, rows.reference)), key=lambda pair: pair not in fixed)
    fig, axes = plt.subplots(
        1, len(splits), figsize=(3.4 + 2.6 * len(splits), 0.33 * len(pairs) + 1.4), sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for ax, split in zip(axes[0], splits):
        part = rows[rows.split == split].set_index(["arm", "reference"])
        for y, pair in enumerate(pairs):
            if pair not in part.index:
                continue
            row, own = part.loc[pair], pair in fixed and bool(part.loc[pair].confirmatory)
            color = COLORS[0] if own else "0.45"
            _intervals(ax, row, y, color)
            ax.plot(row.estimate, y, "o" if own else "D", ms=5.5, mfc=color if own else "white", mec=color)
        ax.axvline(0, color="0.5", ls="--", lw=1)
        if fixed and len(fixed) < len(pairs):
            ax.axhline(len(fixed) - 0.5, color="0.8", lw=0.8)
        counts = part.n.unique()
        ax.set(
            title=f"{SPLIT_NAMES[split]}\nn = {'/'.join(map(str, counts))} concepts, {'/'.join(map(str, part.n_seeds.unique()))} seeds",
            xlabel=f"difference in {OUTCOME_NAMES[outcome]}",
            ylim=(len(pairs) - 0.5, -0.5),
        )
        ax.title.set_fontsize(8.5)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0, 0].set_yticks(range(len(pairs)), [f"{arm_name(a)} − {arm_name(b)}" for a, b in pairs])
    handles = [
        Line2D([], [], marker="o", color=COLORS[0], ls="", label="fixed before the runs"),
        Line2D([], [], marker="D", mfc="white", color="0.45", ls="", label="for comparison"),
    ]
    handles = [*(handles if fixed else []), *INTERVALS]
    fig.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=8)
    return fig, axes[0]


def cost(transfer: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """What an arm costs and gives: change of the loss on text of each language against the base, one symbol a seed.

    Args:
        transfer: the table ``transfer``.
    """
    losses = transfer[(transfer.metric == "loss") & (transfer.split == "val")]
    base = losses[losses.arm == "none"].set_index("target_lang").value
    arms = [a for a in dict.fromkeys(losses.arm) if a != "none"]
    fig, axes = plt.subplots(1, len(LANGUAGES), figsize=(10.5, 0.3 * len(arms) + 1.2), sharex=True, sharey=True, layout="constrained")
    for ax, (la, name) in zip(axes, LANGUAGES.items()):
        for y, arm in enumerate(arms):
            own = losses[(losses.arm == arm) & (losses.target_lang == la)]
            color, marker, _ = _style(arm)
            ax.plot(own.value - base[la], np.full(len(own), y), marker, color=color, ms=5.5, ls="", mfc="none")
            ax.plot(own.value.mean() - base[la], y, "|", color=color, ms=14, mew=2)
        ax.axvline(0, color="0.5", ls="--", lw=1)
        ax.set(title=name, ylim=(len(arms) - 0.5, -0.5))
        ax.xaxis.set_major_locator(MaxNLocator(4))
    fig.supxlabel("change of loss on held-out documents (nats per token; left is better)", fontsize=9)
    axes[0].set_yticks(range(len(arms)), [arm_name(a) for a in arms])
    return fig, axes


def by_direction(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """The claim's contrast direction by direction, with 95 % intervals over concepts and runs.

    Args:
        table: of ``followup.by_direction``.
    """
    order = list(dict.fromkeys(table.direction))
    fig, ax = plt.subplots(figsize=(7.5, 2.9), layout="constrained")
    for shift, (split, color, marker) in zip((-0.2, 0, 0.2), (("heldout", COLORS[0], "o"), ("never", COLORS[1], "^"), ("seen", COLORS[2], "s"))):
        if (rows := table[table.split == split]).empty:
            continue
        reach = [rows.estimate - rows.low, rows.high - rows.estimate]
        ax.errorbar(rows.direction.map(order.index) + shift, rows.estimate, yerr=reach, fmt=marker, color=color, ms=4.5, lw=1.2, label=SPLIT_NAMES[split])
    ax.axhline(0, color="0.5", ls="--", lw=1)
    ax.set_xticks(range(len(order)), [d.replace("-", " → ") for d in order], rotation=30, ha="right")
    ax.set_ylabel("difference in\nlog-ratio (nats)")
    fig.suptitle(f"{arm_name('pivot_npmi')} − {arm_name('matched')}, {table.n_seeds.max()} seeds", x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=8)
    return fig, ax


def replication(table: pd.DataFrame, singles: pd.DataFrame, main: str = "replication", compared: str = "") -> tuple[Figure, Axes]:
    """One contrast in several runs, or of several choices: each seed as a small symbol, with 95 % intervals over concepts and over concepts and runs.

    Args:
        table: of ``followup.claim_rows``, or of ``followup.against_placebo`` for one outcome and split.
        singles: its differences of single seeds.
        main: the row that was a hypothesis of its own.
        compared: what is subtracted from what; by default the claim's arms.
    """
    names, compared = list(dict.fromkeys(table.run)), compared or f"{arm_name('pivot_npmi')} − {arm_name('matched')}"
    fig, ax = plt.subplots(figsize=(7.2, 0.55 * len(names) + 1.5), layout="constrained")
    rows = table.set_index("run")
    for y, name in enumerate(names):
        row, color = rows.loc[name], COLORS[0] if name == main else "0.45"
        _intervals(ax, row, y, color)
        ax.plot(row.estimate, y, "o", ms=6, color=color)
        own = singles[singles.run == name].difference
        ax.plot(own, np.full(len(own), y + 0.27), "|", ms=8, color=color)
    ax.axvline(0, color="0.5", ls="--", lw=1)
    ax.set_yticks(range(len(names)), [f"{n} ({int(rows.n_seeds[n])} seed{'' if rows.n_seeds[n] == 1 else 's'})" for n in names])
    ax.set(ylim=(len(names) - 0.4, -0.5), xlabel=f"{compared}, held-out words: difference in {OUTCOME_NAMES['log_ratio']}")
    handles = [
        Line2D([], [], marker="|", color="0.45", ls="", label="a seed"),
        *INTERVALS,
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8)
    return fig, ax


def spelling(spelled: pd.DataFrame) -> tuple[Figure, Axes]:
    """The claim's contrast by how the two words are written, with the mixed model's 95 % intervals, a color a run.

    Args:
        spelled: of ``followup.by_spelling``.
    """
    kinds, runs = list(dict.fromkeys(spelled.spelling)), list(dict.fromkeys(spelled.run))
    fig, ax = plt.subplots(figsize=(7.2, 0.5 * len(kinds) + 1.4), layout="constrained")
    for i, run in enumerate(runs):
        color, marker = (COLORS[0], "o") if run == "replication" else ("0.45", "s")
        rows = spelled[spelled.run == run]
        y = rows.spelling.map(kinds.index) + 0.24 * (i - (len(runs) - 1) / 2)
        ax.hlines(y, rows.low, rows.high, color=color, lw=1.4)
        ax.plot(rows.estimate, y, marker, color=color, ms=6, label=f"{run} ({rows.n_seeds.iloc[0]} seeds)")
    ax.axvline(0, color="0.5", ls="--", lw=1)
    names = {"identical": "the same string", "alike": "spelled alike", "otherwise": "same script, spelled otherwise"}
    if parts := [k for k in kinds if k.startswith("all but")]:
        ax.axhline(len(kinds) - len(parts) - 0.5, color="0.8", lw=0.8)
    size = spelled.groupby("spelling")[["n", "items"]].first()
    ax.set_yticks(range(len(kinds)), [f"{names.get(k, k)}\n{size.n[k]} concepts, {100 * size['items'][k]:.0f} % of items" for k in kinds], fontsize=8)
    ax.set(
        ylim=(len(kinds) - 0.4, -0.6), xlabel=f"{arm_name('pivot_npmi')} − {arm_name('matched')}, held-out words: difference in {OUTCOME_NAMES['log_ratio']}"
    )
    fig.legend(loc="outside upper left", ncols=2, fontsize=8)
    return fig, ax
