"""One look for all figures: no global matplotlib state is read or changed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Dark to light, distinct in print and for color-blind readers (Okabe & Ito, reordered).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F5539", "#5B4B8A")
MARKERS = "osD^vP"
QUIET = "#B4B9C0"
INK = "#22262B"
GRID = "#E3E6EA"


def color_of(number: int | str | None) -> str:
    """A color of the palette by its number, ``"ink"`` and ``"quiet"`` by their names, and any other color as it is."""
    if number is None or isinstance(number, str):
        return {"ink": INK, "quiet": QUIET}.get(number or "ink", number or INK)
    return COLORS[number % len(COLORS)]


def check_matplotlib() -> None:
    """Say how to get matplotlib where it is missing; whatever draws asks before it imports some of it.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise ImportError('figures need matplotlib, which is not installed: pip install "tnrank[cli]"') from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, drawn by Agg whatever the user's backend is.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(wspace=0.06)
    figure = Figure(figsize=(width, height), dpi=150, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def panels(rows: int, columns: int, width: float = 4.1, height: float = 3.2, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes ``(rows, columns)``; width and height are those of one panel, in inches."""
    figure = new_figure(width * columns, height * rows)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def dress(axes: Axes, title: str, x: str, y: str) -> None:
    """Title, labels, a light grid behind the lines, and two spines."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, pad=8)
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#8A9099")
    axes.tick_params(labelsize=8.5, color="#8A9099", labelcolor=INK, length=3)


def legend(axes: Axes, where: str = "best", **options: Any) -> None:
    """The legend of a panel, if any of its lines has a label."""
    if axes.get_legend_handles_labels()[1]:
        chosen: Any = {"loc": where, "fontsize": 8.5, "frameon": False, "labelcolor": INK, **options}
        axes.legend(**chosen)


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """The labels of ``axes`` in one legend under all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8.5, frameon=False)


def thousands(axis: Any) -> None:
    """Tick labels such as 10,000."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def plain_logarithms(axis: Any) -> None:
    """Plain numbers on a logarithmic axis, for values within one or two powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
