"""The files of this package that pages are made of: the report's own, and what it shares with the demo."""

from importlib import resources


def page_part(name: str) -> str:
    """The text of `report.html`, `page.css` (how pages look) or `stage.js` (pictures with a divider and a zoom)."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
