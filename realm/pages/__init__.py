"""One self-contained HTML page from the files of a run folder."""

from realm.pages.page import write_report

__all__ = ["write_report"]
