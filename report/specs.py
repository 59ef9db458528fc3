"""How each kind of chart looks: Vega-Lite specifications. Their data are the rows that `report.charts` makes.

Colours are CSS variables of the page, which is how one picture serves the light and the dark theme and print.
"""

from typing import Any

Spec = dict[str, Any]

MONEY_COLUMNS = ("From", "Confirmed", "Money")
COUNT_COLUMNS = ("From", "Confirmed", "Rejected")
FLIGHT_COLUMNS = ("From", "Most", "At the end", "Payments at the end")
LATENCY_COLUMNS = ("Log time", "Payments", "Share", "At most this")
BALANCE_COLUMNS = ("Balance", "Accounts")
ACCOUNT_COLUMNS = ("Account", "Balance")

_CONFIG: Spec = {
    "aria": False,  # the page names each picture once, and has its figures as a table
    "background": "transparent",
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 11,
        "labelPadding": 6,
        "titleColor": "var(--muted)",
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": "var(--grid)",
        "domain": False,
        "ticks": False,
        "title": None,
    },
    "axisX": {
        "grid": False,
        "domain": True,
        "domainColor": "var(--axis)",
        "labelFlush": True,
        "labelOverlap": True,
        "labelSeparation": 8,
    },
}
# Vega's SI prefix for 10^9 is G, and for a tenth it is m; money is read otherwise.
_NUMBER = "abs(datum.value) < 1000 ? format(datum.value, ',.4~f') : replace(format(datum.value, '.4~s'), 'G', 'B')"
_COUNT_Y: Spec = {"axis": {"tickCount": 4, "labelExpr": _NUMBER, "tickMinStep": 1}}
_MONEY_Y: Spec = {"axis": {"tickCount": 4, "labelExpr": _NUMBER}}
ROW_HEIGHT = 18


def _time(field: str, form: str = "") -> Spec:
    axis: Spec = {"axis": {"format": form, "tickCount": {"expr": "max(2, floor(width / 80))"}}} if form else {}
    return {"field": field, "type": "temporal", "scale": {"type": "utc", "nice": False}, **axis}


def _y(field: str, how: Spec) -> Spec:
    return {"field": field, "type": "quantitative", **how}


_UPWARDS: Spec = {"y": {"value": 0}, "y2": {"value": "height"}}
_SIDEWAYS: Spec = {"x": {"value": 0}, "x2": {"value": "width"}}


def _layered(columns: tuple[str, ...], along: Spec, *layers: Spec, over: Spec = _UPWARDS, height: Any = 190) -> Spec:
    """The layers, under bars as long as the picture that can be hovered or tapped: a low bar has its words too."""
    hit = {
        "mark": {"type": "bar", "color": "var(--ink)", "cursor": "default"},
        "params": [
            {"name": "hover", "select": {"type": "point", "on": "pointerover,pointerdown", "clear": "pointerout"}}
        ],
        "encoding": {
            **along,
            **over,
            "fillOpacity": {"condition": {"param": "hover", "empty": False, "value": 0.1}, "value": 0},
            "tooltip": [{"field": f"t{i}", "type": "nominal", "title": title} for i, title in enumerate(columns)],
        },
    }
    return {"width": "container", "height": height, "data": {"name": "rows"}, "layer": [*layers, hit]}


def _bar(across: Spec, color: str, y: Spec, y2: str | None = None, narrow: bool = False) -> Spec:
    up: Spec = {
        "y": y,
        "y2": {"datum": 0} if y2 is None else {"field": y2},
    }  # a bar with two ends across has none upwards
    size: Spec = {"width": {"expr": "min(bandwidth('x'), 96)"}} if narrow else {"x2Offset": -1}
    return {"mark": {"type": "bar", "color": f"var(--{color})", **size}, "encoding": {**across, **up}}


_CUT: Spec = {  # an arrow on a bar that goes on above the picture
    "transform": [{"filter": "datum.cut"}],
    "mark": {
        "type": "point",
        "shape": "triangle-up",
        "filled": True,
        "color": "var(--line)",
        "size": 60,
        "yOffset": -6,
    },
}


def _cut(y: str) -> Spec:
    middle = [{"calculate": "(datum.start + datum.end) / 2", "as": "middle"}]
    across = {"field": "middle", "type": "temporal", "scale": {"type": "utc", "nice": False}}
    return {**_CUT, "transform": middle + _CUT["transform"], "encoding": {"x": across, "y": _y(y, {})}}


def specs(width: int) -> dict[str, Spec]:
    """The Vega-Lite specification of each kind of chart, for buckets of `width` ms; its data are rows of that kind."""
    form = "%H:%M:%S" if width < 60_000 else "%H:%M" if width < 3_600_000 else "%d %b %H:%M"
    form = form if width < 86_400_000 else "%d %b" if width < 7 * 86_400_000 else "%b %Y"
    span = {"x": _time("start", form), "x2": {"field": "end"}}
    bins: Spec = {"x": _y("from", {"axis": {"tickCount": {"expr": "max(2, floor(width / 90))"}, "labelExpr": _NUMBER}})}
    bins["x"]["scale"] = {"nice": False, "zero": False}
    bins["x2"] = {"field": "to"}
    steps: Spec = {
        "x": {"field": "label", "type": "ordinal", "sort": None, "axis": {"labelAngle": 0, "labelOverlap": True}}
    }
    steps["x"]["scale"] = {"paddingInner": 0.15}
    lines: Spec = {"y": {"field": "label", "type": "ordinal", "sort": None, "axis": {"labelLimit": 130, "grid": False}}}
    account: Spec = {"type": "bar", "color": "var(--blue)", "height": {"band": 0.75}}
    owned: Spec = {"mark": account, "encoding": {**lines, "x": _y("money", _MONEY_Y)}}
    owned["encoding"]["x"]["axis"] = {**_MONEY_Y["axis"], "grid": True, "domain": False}
    level = {
        "mark": {"type": "line", "interpolate": "step-before", "color": "var(--line)", "strokeWidth": 1.5},
        "encoding": {"x": _time("end"), "y": _y("level", {})},
    }
    made = {
        "money": _layered(MONEY_COLUMNS, span, _bar(span, "blue", _y("money", _MONEY_Y)), _cut("money")),
        "counts": _layered(
            COUNT_COLUMNS,
            span,
            _bar(span, "green", _y("confirmed", _COUNT_Y)),
            _bar(span, "red", _y("confirmed", _COUNT_Y), "ended"),
        ),
        "in_flight": _layered(FLIGHT_COLUMNS, span, _bar(span, "pale", _y("peak", _MONEY_Y)), level, _cut("peak")),
        "latency": _layered(
            LATENCY_COLUMNS,
            steps,
            *(_bar(steps, f"hop{i}", _y(f"from{i}", _COUNT_Y), f"to{i}", narrow=True) for i in range(4)),
        ),
        "balances": _layered(BALANCE_COLUMNS, bins, _bar(bins, "blue", _y("accounts", _COUNT_Y))),
        "accounts": _layered(ACCOUNT_COLUMNS, lines, owned, over=_SIDEWAYS, height={"step": ROW_HEIGHT}),
    }
    return {kind: spec | {"config": _CONFIG} for kind, spec in made.items()}
