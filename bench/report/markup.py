"""HTML as a tree. Text and attributes are escaped when the standard library writes it."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from bench.report.escape import printable

Content = Element | str | None
Attribute = str | float | None


def element(tag: str, *content: Content, **attributes: Attribute) -> Element:
    """Return an element.

    Args:
        tag: its name.
        content: elements and text, in order; None is left out.
        attributes: by name, `class_` for class and `stroke_width` for stroke-width; None is
            left out, numbers are rounded to what a screen can show.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), _show(value))
    return extend(made, content)


def extend(parent: Element, content: Iterable[Content]) -> Element:
    """Add elements and text to the end of an element, and return it."""
    for part in content:
        if isinstance(part, Element):
            parent.append(part)
        elif part is not None and len(parent):
            parent[-1].tail = (parent[-1].tail or "") + printable(part)
        elif part is not None:
            parent.text = (parent.text or "") + printable(part)
    return parent


def serialize(page: Element) -> str:
    """Return a whole document."""
    return f"<!DOCTYPE html>\n{tostring(page, encoding='unicode', method='html')}\n"


def _show(value: str | float) -> str:
    return printable(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
