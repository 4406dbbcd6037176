"""A figure's SVG made part of a page: the theme's colors, the page's font, names of its own, and words for those who cannot see it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from analysis.plots import PALETTE
from analysis.report.wording import printable

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
PIXELS = 96 / 72  # CSS pixels of a point
_NAME_OF = {light: name for name, (light, _) in PALETTE.items()}
_COLOR = re.compile("|".join(_NAME_OF))
_FONT = re.compile(r"(font: (?:[\w.]+ )*?)([\d.]+px) [^;]*")


@dataclass(frozen=True)
class Words:
    """A figure in words: what it is, what it says, and what each named part says (by its id)."""

    title: str
    description: str
    parts: Mapping[str, str]


def inline(svg: str, prefix: str, words: Words) -> str:
    """The SVG of a figure as an element of a page. `prefix` keeps its ids apart from those of other figures."""
    ET.register_namespace("", SVG)
    root = ET.fromstring(svg)
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    width = float(root.attrib.pop("width").removesuffix("pt")) * PIXELS
    del root.attrib["height"]
    for element in root.iter():
        part = words.parts.get(element.get("id", ""))
        _adapt(element, prefix)
        if part:
            element.insert(0, _text("title", part))
    root.attrib |= {"role": "img", "aria-labelledby": f"{prefix}-title {prefix}-text", "style": f"width:{width:.0f}px"}
    root.insert(0, _text("desc", words.description, f"{prefix}-text"))
    root.insert(0, _text("title", words.title, f"{prefix}-title"))
    return ET.tostring(root, encoding="unicode")


def _adapt(element: ET.Element, prefix: str) -> None:
    for name, value in list(element.items()):
        element.set(name, _COLOR.sub(lambda found: f"var(--{_NAME_OF[found[0]]})", value))
    if "id" in element.attrib:
        element.set("id", f"{prefix}-{element.attrib['id']}")
    for name in ("clip-path", "style"):
        if name in element.attrib:
            element.set(name, element.attrib[name].replace("url(#", f"url(#{prefix}-"))
    if "style" in element.attrib:
        element.set("style", _FONT.sub(r"\1\2 var(--sans)", element.attrib["style"]))
    if link := element.attrib.pop(f"{{{XLINK}}}href", ""):
        inner = element.tag != f"{{{SVG}}}a"
        element.set("href", f"#{prefix}-{link[1:]}" if inner else link)
        if not inner:
            element.set("tabindex", "-1")  # the table of the same numbers has these links for the keyboard


def _text(tag: str, text: str, id_: str = "") -> ET.Element:
    element = ET.Element(f"{{{SVG}}}{tag}", {"id": id_} if id_ else {})
    element.text = printable(text)
    return element


def properties() -> Iterator[tuple[str, str, str]]:
    """Every color of the figures: the name of its CSS variable, its value in light and in dark."""
    for name, (light, dark) in PALETTE.items():
        yield name, light, dark
