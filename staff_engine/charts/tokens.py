"""A response's tokens, coloured by their loss on the small model: escaped HTML, and a table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from staff_engine.charts.style import COLORS

if TYPE_CHECKING:
    import pandas as pd

    from staff_engine.samples.detail import SampleDetail, TurnDetail

FULL = 8.0
"""Loss of a token, in nats, from which on the colour is full: a probability of 0.03 %."""

STRONGEST = 0.6
"""Opacity of the full colour: text on it stays at 4.5:1 or more, on a white and on a near-black page."""

_BOX = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.75;font-size:0.95rem"
_PIECE = "border-radius:0.2em;padding:0.1em 0"
_MARK = "font-size:0.8em;opacity:0.75;padding:0.1em 0.3em;margin-left:0.3em"


def tokens_html(turn: TurnDetail) -> str:
    """A turn's text with its tokens coloured; every character is escaped.

    Text that was not scored is not coloured. Each token's `title` is its loss.
    """
    spans = [escape(turn.before)]
    for piece in turn.pieces:
        several = f" ({piece.tokens} tokens)" if piece.tokens > 1 else ""
        style = (
            f"background:{_shade(piece.loss / piece.tokens)};{_PIECE}{';' + _MARK if piece.special else ''}"
        )
        title = f"{piece.loss:.2f} nats{several}"
        if piece.special:
            title += ", special token"
        spans.append(f'<span style="{style}" title="{title}">{escape(piece.text)}</span>')
    spans.append(escape(turn.after))
    return f'<div style="{_BOX}">{"".join(spans)}</div>'


def legend_html() -> str:
    """The legend of the colours of `tokens_html`."""
    steps = [0.0, 2.0, 4.0, 6.0, FULL]
    swatches = "".join(
        f'<span style="background:{_shade(step)};padding:0.15em 0.6em;border-radius:0.2em">'
        f"{step:g}{' or more' if step == FULL else ''}</span>"
        for step in steps
    )
    box = "display:flex;flex-wrap:wrap;gap:0.3em;align-items:center;font-size:0.85rem"
    return f'<div style="{box}"><span>Loss per token (nats):</span>{swatches}</div>'


def hardest_tokens_frame(detail: SampleDetail, count: int = 10) -> pd.DataFrame:
    """The tokens with the highest loss: token, its text; loss, in nats; place, its position from 1."""
    import pandas as pd

    rows = [
        (piece.text, piece.loss, place)
        for turn in detail.turns
        for place, piece in enumerate(turn.pieces, start=1)
    ]
    frame = pd.DataFrame(rows, columns=["token", "loss", "place"])
    return frame.sort_values("loss", ascending=False, kind="stable", ignore_index=True).head(count)


def _shade(loss: float) -> str:
    red, green, blue = (int(COLORS["accent"][at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{STRONGEST * min(max(loss / FULL, 0.0), 1.0):.3f})"
