"""A drawing as SVG text: shapes with classes, so that the page's colours reach them."""

from __future__ import annotations

from html import escape

#: x and y.
Point = tuple[float, float]
#: x and y of the upper left corner, width and height.
Box = tuple[float, float, float, float]

#: Average width of a character in the page's font, as a share of its size: for placing labels.
CHARACTER_WIDTH = 0.56

#: Widths in CSS pixels for which every picture is drawn twice; the page shows the one that fits.
NARROW, WIDE = 340, 920


class Drawing:
    """Shapes in the order they are drawn. Coordinates in pixels, y downwards."""

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width = width
        self.height = height
        self._label = label
        self._parts: list[str] = []

    def box(self, place: Box, kind: str, radius: float = 2) -> None:
        """A filled rectangle."""
        x, y, width, height = place
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" '
            f'rx="{radius}" class="{kind}"/>'
        )

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        """One line of text on its baseline."""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def line(self, start: Point, end: Point, kind: str) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'
        )

    def path(self, d: str, kind: str) -> None:
        """A path in SVG's own letters."""
        self._parts.append(f'<path d="{d}" class="{kind}"/>')

    def svg(self, kind: str) -> str:
        """The finished element."""
        return (
            f'<svg class="{kind}" viewBox="0 0 {self.width:.0f} {self.height:.0f}" role="img" '
            f'aria-label="{escape(self._label, quote=True)}" '
            f'xmlns="http://www.w3.org/2000/svg">{"".join(self._parts)}</svg>'
        )


def text_width(words: str, size: float) -> float:
    """About how wide a line of text is."""
    return len(words) * size * CHARACTER_WIDTH
