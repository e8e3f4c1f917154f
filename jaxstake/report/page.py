"""A self-contained HTML page: text, tables and embedded figures; nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

STYLE = """
:root { --ink:#1c2733; --muted:#5b6773; --rule:#d5dce3; --accent:#0b4f8a; --pale:#f3f7fb; --contrast:#a94a06; }
* { box-sizing:border-box; }
html { -webkit-text-size-adjust:100%; }
body { margin:0; background:#fff; color:var(--ink);
  font:17px/1.55 "Helvetica Neue",Arial,"Liberation Sans",sans-serif; }
main { max-width:var(--page); margin:0 auto; padding:40px 24px 72px; }
h1,h2 { font-family:Georgia,"Times New Roman","Liberation Serif",serif; font-weight:600; line-height:1.2; }
h1 { font-size:2.1rem; margin:0 0 6px; letter-spacing:-0.01em; }
h2 { font-size:1.42rem; margin:56px 0 12px; padding-top:18px; border-top:2px solid var(--ink); }
h3 { font-size:1.02rem; margin:30px 0 8px; }
p { margin:0 0 14px; max-width:70ch; }
.lead { color:var(--muted); font-size:1.06rem; margin-bottom:26px; }
a { color:var(--accent); }
nav { font-size:.9rem; margin:22px 0 0; line-height:1.9; }
nav a { margin-right:1.1em; white-space:nowrap; text-decoration:none; border-bottom:1px solid var(--rule); }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); border-top:1px solid var(--rule);
  margin-bottom:22px; }
.tile { padding:14px 16px 14px 0; border-bottom:1px solid var(--rule); }
.tile b { display:block; font:600 1.65rem/1.15 Georgia,"Times New Roman","Liberation Serif",serif; color:var(--accent);
  font-variant-numeric:tabular-nums lining-nums; }
.tile span { display:block; color:var(--muted); font-size:.86rem; line-height:1.35; margin-top:3px; }
.scroll { overflow-x:auto; margin:0 0 18px; }
table { border-collapse:collapse; width:100%; font-size:.9rem; line-height:1.4; font-variant-numeric:tabular-nums; }
caption { text-align:left; color:var(--muted); font-size:.86rem; padding:0 0 8px; }
th { text-align:left; font-weight:600; border-bottom:1.5px solid var(--ink); padding:6px 12px 6px 0;
  vertical-align:bottom; }
td { border-bottom:1px solid var(--rule); padding:6px 12px 6px 0; vertical-align:top; }
th.n,td.n { text-align:right; white-space:nowrap; }
th:last-child,td:last-child { padding-right:0; }
tr.sum td { font-weight:600; background:var(--pale); }
tr.sum td:last-child { font-weight:400; }
code { font:.86em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace; overflow-wrap:anywhere; }
td code { overflow-wrap:normal; white-space:nowrap; }
figure { margin:22px 0 26px; }
figure img { display:block; width:100%; max-width:720px; height:auto; }
figcaption { color:var(--muted); font-size:.88rem; line-height:1.45; margin-top:8px; max-width:76ch; }
figcaption b { color:var(--ink); }
.note { background:var(--pale); border-left:3px solid var(--accent); padding:12px 16px; margin:0 0 18px; }
.note p { max-width:none; }
.note p:last-child { margin:0; }
.bar { display:inline-block; height:.72em; background:var(--accent); vertical-align:baseline; min-width:1px; }
footer { color:var(--muted); font-size:.86rem; margin-top:56px; border-top:1px solid var(--rule); padding-top:16px; }
@media (max-width:600px) {
  body { font-size:16px; } main { padding:24px 16px 48px; } h1 { font-size:1.7rem; }
}
@media print { main { max-width:none; } h2 { break-after:avoid; } figure,table { break-inside:avoid; } }
"""


def escape(text: object) -> str:
    """Text as HTML."""
    return html.escape(str(text), quote=True)


def code(text: str) -> str:
    """A name or a command."""
    return f"<code>{escape(text)}</code>"


def paragraph(content: str) -> str:
    """A paragraph of HTML."""
    return f"<p>{content}</p>"


def note(*paragraphs: str) -> str:
    """Paragraphs set apart."""
    return f'<div class="note">{"".join(map(paragraph, paragraphs))}</div>'


def tiles(entries: Sequence[tuple[str, str]]) -> str:
    """The numbers that matter most: (number, what it is)."""
    cells = (f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in entries)
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Sequence[int] = (),
    sums: Sequence[int] = (),
    caption: str = "",
) -> str:
    """A table.

    Args:
        headers: of the columns, HTML.
        rows: cells, HTML.
        numeric: columns set flush right.
        sums: rows that stand out.
        caption: above it, HTML.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="n">{cell}</{tag}>' if column in numeric else f"<{tag}>{cell}</{tag}>"
            for column, cell in enumerate(row)
        )

    body = "".join(
        f'<tr class="sum">{cells("td", row)}</tr>' if number in sums else f"<tr>{cells('td', row)}</tr>"
        for number, row in enumerate(rows)
    )
    head = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{head}<thead><tr>{cells("th", headers)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def figure(svg: bytes, *, number: int, title: str, caption: str) -> str:
    """An embedded figure with its caption (HTML); the title is also what a screen reader says."""
    data = base64.b64encode(svg).decode()
    return (
        f'<figure><img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption><b>Figure {number}. {escape(title)}.</b> {caption}</figcaption></figure>"
    )


def bar(share: float, *, width_em: float = 7.0) -> str:
    """A share of one as a bar inside a table."""
    return f'<span class="bar" style="width:{max(share, 0.0) * width_em:.2f}em"></span>'


def document(
    *, title: str, lead: str, sections: Sequence[tuple[str, str, str]], top: str, footer: str, width: int = 860
) -> str:
    """The page.

    Args:
        title: of the page.
        lead: line below it.
        sections: (anchor, heading, HTML) in order.
        top: HTML above the first section.
        footer: HTML below the last.
        width: most that the page takes, px.
    """
    links = " ".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections)
    body = "".join(
        f'<section><h2 id="{anchor}">{escape(heading)}</h2>{content}</section>' for anchor, heading, content in sections
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}:root {{ --page:{width}px; }}</style></head><body><main><header><h1>{escape(title)}</h1>"
        f'<p class="lead">{escape(lead)}</p></header>{top}<nav>{links}</nav>{body}'
        f"<footer>{footer}</footer></main></body></html>\n"
    )
