"""Pictures of what was measured, by matplotlib; without it there are tables alone."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from tests.load.report import Load, Results, median

INCHES, DOTS = (9, 5), 110


def draw(results: Results, folder: Path) -> list[Path]:
    """Write a PNG for each part and each curve; the files."""
    if importlib.util.find_spec("matplotlib") is None:
        results.remark("matplotlib is not installed: no plots.")
        return []
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for part in results.parts():
        loads = results.of(part)
        height = max(INCHES[1], 1.5 + 0.14 * sum(len(load.rounds) + 1 for load in loads))
        figure, axes = pyplot.subplots(figsize=(INCHES[0], height), layout="constrained")
        bars(axes, loads)
        figure.legend(fontsize=7, loc="outside lower center", ncols=2)
        made.append(saved(pyplot, figure, folder, part))
    for title, curves in results.curves.items():
        figure, axes = pyplot.subplots(figsize=INCHES, layout="constrained")
        lines(axes, title, curves)
        made.append(saved(pyplot, figure, folder, title))
    return made


def bars(axes: Any, loads: list[Load]) -> None:
    """A group of bars a load, a bar each contender; on a logarithmic scale, as they lie far apart."""
    names = list(dict.fromkeys(name for load in loads for name in load.rounds))
    thickness = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        present = [
            (place, median(load.rounds[name], load.spec.by)) for place, load in enumerate(loads) if name in load.rounds
        ]
        places = [place + (number - (len(names) - 1) / 2) * thickness for place, _ in present]
        drawn = axes.barh(places, [value for _, value in present], height=thickness, label=name)
        axes.bar_label(drawn, fmt="{:,.4g}", fontsize=6, padding=2)
    headings = dict.fromkeys(
        next(heading for key, heading, _ in load.spec.columns if key == load.spec.by) for load in loads
    )
    axes.set_yticks(range(len(loads)), [load.title for load in loads], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(" or ".join(headings))
    axes.margins(x=0.12)


def lines(axes: Any, title: str, curves: dict[str, list[tuple[float, ...]]]) -> None:
    """One line each: second by second, or what share of all was quicker."""
    for name, points in curves.items():
        axes.plot([point[0] for point in points], [point[1] for point in points], label=name, linewidth=1.2)
    what, _, axis = title.partition(": ")
    horizontal, _, vertical = axis.partition(" → ")
    axes.set_title(what, fontsize=10)
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def saved(pyplot: Any, figure: Any, folder: Path, title: str) -> Path:
    """The figure as a file named after its title."""
    path = folder / (re.sub(r"\W+", "-", title.partition(":")[0].lower()).strip("-") + ".png")
    figure.savefig(path, dpi=DOTS, metadata={"Software": None})
    pyplot.close(figure)
    return path
