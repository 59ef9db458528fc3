"""Pictures of SVG without scripts. Places are parts of the picture's size, letters and dots have pixels: both are right at any width."""

from report.html import Child, Html, tag

FINE = 1000
"""Units of `outline`'s paths from side to side of the picture, unless it is told a box of its own."""


def picture(said: str, css: str, *shapes: Child, **attributes: str | None) -> Html:
    """The whole; its height is that of the CSS class. said: what it shows, for who does not see it."""
    return tag("svg", tag("title", said), *shapes, role="img", aria_label=said, class_=f"picture {css}", **attributes)


def part(share: float) -> str:
    """A place: 0 is the left or upper side, 1 the other one."""
    return f"{100 * share:.2f}%"


def outline(path: str, css: str, box: str = f"0 0 {FINE} {FINE}") -> Html:
    """A path that is stretched with the picture, its lines as thin as ever. box: what of its plane fills the picture."""
    drawn = tag("path", d=path, class_=css, vector_effect="non-scaling-stroke")
    return tag("svg", drawn, viewBox=box, preserveAspectRatio="none", width="100%", height="100%")


def line(css: str, *, at: float | None = None, down: float | None = None) -> Html:
    """From top to bottom `at` a share of the width, or from side to side so far `down`."""
    if at is None:
        return tag("line", x1="0", x2="100%", y1=part(down or 0), y2=part(down or 0), class_=css)
    return tag("line", x1=part(at), x2=part(at), y1="0", y2="100%", class_=css)


def box(css: str, at: float, to: float, top: float, bottom: float) -> Html:
    """A rectangle."""
    return tag("rect", x=part(at), y=part(top), width=part(to - at), height=part(bottom - top), class_=css)


def dot(at: float, down: float, radius: float, css: str, said: str) -> Html:
    """A circle of `radius` pixels, and what it says when it is pointed at."""
    return tag("circle", tag("title", said), cx=part(at), cy=part(down), r=f"{radius:.1f}", class_=css)


def label(text: str, at: float, down: float, dx: int = 0, dy: int = 0) -> Html:
    """Letters that begin there, moved by pixels."""
    return tag("text", text, x=part(at), y=part(down), dx=str(dx), dy=str(dy))
