"""The content of a figure: its artists by group id, and its texts."""

from __future__ import annotations


def artists_of(figure) -> dict:
    """Artists that carry data, by group id."""
    found = {}
    for ax in figure.axes:
        for artist in [*ax.lines, *ax.collections]:
            assert artist.get_gid(), "an artist without a group id escapes these tests"
            assert artist.get_gid() not in found
            found[artist.get_gid()] = artist
    return found


def texts_of(figure) -> str:
    """The texts of all legends and the caption, in one line."""
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    texts = [text.get_text() for legend in legends for text in legend.get_texts()]
    return " ".join([*texts, figure.get_supxlabel()]).replace("\n", " ")
