"""HTML and SVG elements, in which every text is escaped unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"meta", "img", "br", "hr", "col", "link"})


class Html(str):
    """Markup: it is not escaped again."""

    __slots__ = ()


def h(tag: str, *children: object, **attributes: object) -> Html:
    """An element.

    Parameters
    ----------
    tag
        Its name; a literal of this program, never a user's text.
    children
        Markup, texts, numbers, sequences of these, or None for nothing. Texts are escaped.
    attributes
        ``class_`` is written ``class``, other underscores as hyphens. Values are escaped; True is
        an attribute without a value, None and False leave it out.
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        written = name.rstrip("_").replace("_", "-")
        parts.append(written if value is True else f'{written}="{html.escape(_text(value))}"')
    opening = f"<{' '.join(parts)}>"
    if tag in _VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{tag}>")


def join(children: object) -> Html:
    """Children one after another; see `h`."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return Html(html.escape(children))
    if isinstance(children, Iterable):
        return Html("".join(join(child) for child in children))
    return Html(html.escape(_text(children)))


def _text(value: object) -> str:
    """Numbers without digits that nobody sees."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") if value == value else ""
    return str(value)


def table(
    header: Iterable[object],
    rows: Iterable[Iterable[object]],
    caption: object = None,
    *,
    text: int = 1,
) -> Html:
    """A table whose first ``text`` columns are texts and the others figures."""
    head = [
        h("th", cell, scope="col", class_=None if i < text else "n")
        for i, cell in enumerate(header)
    ]
    body = [
        h(
            "tr",
            [
                h("th", cell, scope="row")
                if i == 0
                else h("td", cell, class_=None if i < text else "n")
                for i, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    inner = h(
        "table",
        h("caption", caption) if caption else None,
        h("thead", h("tr", head)),
        h("tbody", body),
    )
    return h("div", inner, class_="scroll")
