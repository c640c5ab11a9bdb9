"""Figures of the interventions. Plot functions take a table and return ``fig, ax``; nothing is computed here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .effects import LATER
from .figures import COLORS
from .report import short_name
from .task import LANGUAGES

__all__ = ["ablation", "blocks", "blocks_by_target", "doses", "patches", "steering", "summary", "SPAN_STYLE"]

# color, marker and name of whose span is removed
SPAN_STYLE = {
    "english": (COLORS[1], "o", "English forms"),
    "discovered": (COLORS[3], "D", "discovered pivots"),
    "source": (COLORS[0], "s", "source word"),
    "target": (COLORS[6], "^", "target token"),
}
CONTROL_STYLE = {
    "matched": ("0.35", "v", "matched tokens"),
    "transplanted": (COLORS[5], "P", "same geometry, other concept"),
    "equal removal": ("0.35", "v", "same geometry, as much removed"),
    "shuffled": ("0.65", "X", "another concept's pivots, not matched"),
    "random": ("0.65", "X", "random direction"),
}
CELL_STYLE = [
    (COLORS[0], "o", "own concept, own language"),
    (COLORS[1], "s", "other concept, own language"),
    (COLORS[5], "^", "own concept, other language"),
    (COLORS[3], "D", "other concept, other language"),
]
KIND_TITLES = {
    "same": "same item,\nother demonstrations",
    "concept": "another concept,\nsame direction",
    "language": "same concept,\ninto English",
    "both": "another concept,\ninto English",
    "mean": "another concept, into English,\nmean over source languages",
}


def _order(effects: pd.DataFrame) -> list[str]:
    return [d for d in dict.fromkeys(effects.direction) if d != "all"] + ["all"]


def _label(direction: str) -> str:
    return "all" if direction == "all" else direction.replace("-", " → ")


def _points(ax: Axes, rows: pd.DataFrame, order: list[str], shift: float, prefix: str, style: tuple[str, str, str], fill: bool = True) -> None:
    """Means with intervals, one a direction, on a vertical list of directions."""
    if rows.empty:
        return
    color, marker, label = style
    names = {
        "": ("mean", "low", "high"),
        "control": ("control_mean", "control_low", "control_high"),
        "difference": ("difference", "difference_low", "difference_high"),
    }[prefix]
    mean, low, high = (rows[n].to_numpy() for n in names)
    y = rows.direction.map(order.index) + shift
    ax.errorbar(mean, y, xerr=[mean - low, high - mean], fmt=marker, ms=4.5, color=color, mfc=color if fill else "white", lw=1.1, label=label)


def ablation(effects: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Change of the target's log-odds when a span is removed, by direction: pivots and controls (left), and the differences (right).

    Args:
        effects: of ``effects.effects``, one model.
    """
    rows, order = effects[effects.kind == "ablation"], _order(effects)
    fig, axes = plt.subplots(1, 2, figsize=(10, 0.72 * len(order) + 2.1), sharey=True, layout="constrained", width_ratios=[1.15, 1])
    # on the right: the control, its marker, whose span, the control's name in the table, the table's kind of row
    compared = (
        ("matched tokens", "o", "", "matched", "ablation"),
        ("same geometry", "P", "", "transplanted", "ablation"),
        ("the same, as much removed", "v", "", "equal removal", "ablation"),
        ("the last, through other blocks", "^", "", "equal removal", LATER),
        ("the last, part along the target left in", "s", " beside target", "equal removal", "ablation"),
    )
    for k, span in enumerate(s for s in ("english", "discovered") if s in set(rows.what)):
        color, marker, name = SPAN_STYLE[span]
        own = rows[(rows.what == span) & (rows.control == "matched")]
        label = f"{name} (n = {own.n[own.direction == 'all'].max():.0f} concepts)"
        _points(axes[0], own, order, -0.3 + 0.36 * k, "", (color, marker, label))
        for j, control in enumerate(("matched", "transplanted", "equal removal")):
            drawn = rows[(rows.what == span) & (rows.control == control)]
            _points(axes[0], drawn, order, -0.22 + 0.36 * k + 0.08 * j, "control", (color, "oPv"[j], f"{name}: {CONTROL_STYLE[control][2]}"), fill=False)
        for j, (control, symbol, what, column, kind) in enumerate(compared):
            drawn = effects[(effects.kind == kind) & (effects.what == f"{span}{what}") & (effects.control == column)]
            _points(axes[1], drawn, order, -0.38 + 0.17 * j + 0.085 * k, "difference", (color, symbol, f"{name} − {control}"), fill=not k)
    _points(axes[0], rows[(rows.what == "source") & (rows.control == "")], order, 0.4, "", SPAN_STYLE["source"])
    for ax, title in zip(axes, ("change of the target's log-odds (nats)", "beyond controls (nats)")):
        ax.axvline(0, color="0.5", ls="--", lw=1)
        ax.set(xlabel=title, ylim=(len(order) - 0.5, -0.5))
        for y in np.arange(0.5, len(order) - 1):
            ax.axhline(y, color="0.92", lw=0.8, zorder=0)
    axes[0].set_yticks(range(len(order)), [_label(d) for d in order])
    for ax in axes:
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=1, fontsize=7.5)
    return fig, axes


def _layers(ax: Axes, rows: pd.DataFrame, prefix: str, style: tuple[str, str, str], **line) -> None:
    names = {"": ("mean", "low", "high"), "control": ("control_mean", "control_low", "control_high")}[prefix]
    rows = rows.sort_values("layer")
    ax.plot(rows.layer + 1, rows[names[0]], color=style[0], marker=style[1], ms=4.5, lw=1.4, label=style[2], **line)
    ax.fill_between(rows.layer + 1, rows[names[1]], rows[names[2]], color=style[0], alpha=0.12, lw=0)


def blocks(effects: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Taken out after one block only: the whole effect, what the lack does by itself, and what later blocks make of it; all directions together."""
    fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.1), sharey=True, sharex=True, layout="constrained")
    for ax, (kind, title) in zip(
        axes,
        (
            ("one block", "the whole effect"),
            ("one block, directly", "by itself: later blocks held fast"),
            ("one block, through later blocks", "what later blocks make of it"),
        ),
    ):
        rows = effects[(effects.kind == kind) & (effects.direction == "all")]
        for span in ("source", "english"):
            own = rows[(rows.what == span) & rows.control.isin(["", "equal removal"])]
            _layers(ax, own, "", SPAN_STYLE[span])
        _layers(ax, rows[(rows.what == "english") & (rows.control == "equal removal")], "control", CONTROL_STYLE["equal removal"], mfc="white")
        ax.axhline(0, color="0.5", ls="--", lw=1)
        ax.set(title=title, xlabel="removed after block")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("change of log-odds (nats)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=8)
    return fig, axes


def blocks_by_target(effects: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """What later blocks make of the lack of English after one block, beyond directions that take as much: a panel a target language, a line a source language."""
    rows = effects[effects.kind == "one block, through later blocks"]
    rows = rows[(rows.what == "english") & (rows.control == "equal removal") & (rows.direction != "all")]
    rows = rows.assign(source=rows.direction.str[:2], target=rows.direction.str[3:])
    targets, sources = (list(dict.fromkeys(rows[c])) for c in ("target", "source"))
    fig, axes = plt.subplots(1, len(targets), figsize=(3.5 * len(targets), 3.0), sharey=True, sharex=True, layout="constrained", squeeze=False)
    for ax, target in zip(axes[0], targets):
        for source, own in rows[rows.target == target].groupby("source", sort=False):
            k, own = sources.index(source), own.sort_values("layer")
            ax.plot(own.layer + 1, own.difference, color=COLORS[k], marker="os^D"[k % 4], ms=4.5, lw=1.4, label=f"from {LANGUAGES[source]}")
            ax.fill_between(own.layer + 1, own.difference_low, own.difference_high, color=COLORS[k], alpha=0.12, lw=0)
        ax.axhline(0, color="0.5", ls="--", lw=1)
        ax.set(title=f"into {LANGUAGES[target]}", xlabel="removed after block")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(fontsize=8, loc="lower right")
    axes[0, 0].set_ylabel("beyond equal removal (nats)")
    return fig, axes[0]


def doses(effects: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Left: by number of directions removed. Right: how far the whole output moves, on the item itself, another word, and running text."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 2.9), layout="constrained")
    rows = effects[(effects.kind == "number of directions") & (effects.direction == "all") & (effects.control == "matched")].sort_values("n_directions")
    span = rows.what.iloc[0] if len(rows) else "english"
    for prefix, style, fill in (("", SPAN_STYLE[span], None), ("control_", CONTROL_STYLE["matched"], "white")):
        mean, low, high = (rows[n].to_numpy() for n in ((f"{prefix}mean", f"{prefix}low", f"{prefix}high") if prefix else ("mean", "low", "high")))
        error = [mean - low, high - mean]
        axes[0].errorbar(rows.n_directions, mean, yerr=error, fmt=f"-{style[1]}", ms=5, color=style[0], mfc=fill or style[0], lw=1.3, label=style[2])
    axes[0].axhline(0, color="0.5", ls="--", lw=1)
    axes[0].set(xlabel="directions removed, the most frequent first", ylabel="change of log-odds (nats)", xticks=sorted(rows.n_directions.unique()))
    places = {"kl own": "the item\nitself", "kl other": "another\nword", "kl text": "running\ntext"}
    rows = effects[effects.kind.isin(places) & (effects.direction == "all") & (effects.control == "matched")].set_index("kind")
    for shift, prefix, style, fill in ((-0.1, "", SPAN_STYLE[span], None), (0.1, "control_", CONTROL_STYLE["matched"], "white")):
        for x, kind in enumerate(k for k in places if k in rows.index):
            mean, low, high = (rows.at[kind, f"{prefix}{m}"] for m in ("mean", "low", "high"))
            axes[1].errorbar(x + shift, mean, yerr=[[mean - low], [high - mean]], fmt=style[1], ms=5, color=style[0], mfc=fill or style[0], lw=1.3)
    axes[1].set(xticks=range(len(places)), xlim=(-0.5, len(places) - 0.5), ylabel="KL(before ‖ after), nats", ylim=(0, None))
    axes[1].set_xticklabels(places.values())
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return fig, axes


def patches(curves: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """What the output is when the state after a block is another run's: probability of each of four outcomes, a panel a kind of run.

    Args:
        curves: of ``effects.patch_curves``, one model.
    """
    kinds = [k for k in KIND_TITLES if k in set(curves.kind)]
    columns = min(3, len(kinds))
    rows = -(-len(kinds) // columns)
    fig, grid = plt.subplots(rows, columns, figsize=(3.2 * columns, 2.6 * rows + 0.4), sharex=True, sharey=True, layout="constrained", squeeze=False)
    axes, unused = np.split(grid.ravel(), [len(kinds)])
    for ax, kind in zip(axes, kinds):
        for cell, style in enumerate(CELL_STYLE):
            _layers(ax, curves[(curves.kind == kind) & (curves.measure == f"p_{cell}")], "", style)
        ax.set_title(KIND_TITLES[kind], fontsize=8.5)
        ax.set_xlabel("patched in after block")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.tick_params(labelbottom=True)
    for ax in unused:
        ax.set_visible(False)
    for ax in grid[:, 0]:
        ax.set(ylabel="probability", ylim=(0, None))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return fig, axes


def steering(effects: pd.DataFrame, shares: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Pivot direction added to failing items, by dose: the target's log-odds, and how often the answer is right, or an English word.

    Args:
        effects: of ``effects.effects``, one model.
        shares: of ``effects.steering_shares``, the same model.
    """
    fig, axes = plt.subplots(1, 3, figsize=(10.5, 3), layout="constrained")
    rows = effects[(effects.kind == "steering") & (effects.direction == "all")].sort_values("dose")
    styles = {"own": (COLORS[1], "o", "English forms of the concept")} | {c: CONTROL_STYLE[c] for c in ("transplanted", "matched", "random")}
    for control, (color, marker, label) in styles.items():
        own = rows[rows.control == ("matched" if control == "own" else control)]
        mean, low, high = (own[n] for n in (("mean", "low", "high") if control == "own" else ("control_mean", "control_low", "control_high")))
        fill = color if control == "own" else "white"
        axes[0].errorbar(own.dose, mean, yerr=[mean - low, high - mean], fmt=f"-{marker}", ms=5, color=color, mfc=fill, lw=1.3, label=label)
        for ax, measure in zip(axes[1:], ("right", "english")):
            part = shares[(shares.control == control) & (shares.measure == measure)].sort_values("dose")
            error = [part["mean"] - part.low, part.high - part["mean"]]
            ax.errorbar(part.dose, part["mean"], yerr=error, fmt=f"-{marker}", ms=5, color=color, mfc=fill, lw=1.3)
    axes[0].axhline(0, color="0.5", ls="--", lw=1)
    for ax, title in zip(axes, ("change of the target's log-odds (nats)", "share right now", "share answered in English")):
        ax.set(xscale="log", xlabel="added, in lengths of the state", title=title)
        ax.set_xticks(ticks := sorted(rows.dose.unique()), [f"{t:g}" for t in ticks])
        ax.minorticks_off()
    for ax in axes[1:]:
        ax.set_ylim(-0.03 * ax.get_ylim()[1], None)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=8)
    return fig, axes


def summary(effects: pd.DataFrame, curves: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """What breaks what, at which block: spans removed after one block (left), states patched in after one block (right); a row a model.

    Dotted lines are the shares where nothing is patched in.
    """
    models = list(dict.fromkeys(effects.model))
    fig, axes = plt.subplots(len(models), 2, figsize=(10, 2.7 * len(models) + 0.5), layout="constrained", squeeze=False)
    for (left, right), model in zip(axes, models):
        rows = effects[(effects.model == model) & (effects.kind == "one block") & (effects.direction == "all")]
        for span in ("target", "source", "english"):
            _layers(left, rows[(rows.what == span) & rows.control.isin(["", "matched"])], "", SPAN_STYLE[span])
        _layers(left, rows[(rows.what == "english") & (rows.control == "matched")], "control", CONTROL_STYLE["matched"], mfc="white")
        left.axhline(0, color="0.5", ls="--", lw=1)
        left.set(title=f"{short_name(model)}: removed", ylabel="change of log-odds (nats)")
        own = curves[(curves.model == model) & (curves.kind == "both")]
        for measure, style in (("language", (COLORS[3], "D", "the other language")), ("concept", (COLORS[1], "s", "the other concept"))):
            _layers(right, own[own.measure == measure], "", style)
            none = curves[(curves.model == model) & (curves.kind == "none") & (curves.measure == measure)]
            right.axhline(none["mean"].iloc[0], color=style[0], ls=":", lw=1.2)
        right.set(title="patched in: another concept's run into English", ylabel="share that follows it", ylim=(-0.03, 1.03))
        for ax in (left, right):
            ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    for ax, name in zip(axes[-1], ("removed after block", "patched in after block")):
        ax.set_xlabel(name)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    fig.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8)
    return fig, axes
