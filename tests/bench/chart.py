"""A bar chart as SVG, in plain Python: groups of horizontal bars on a logarithmic scale."""

import math
from xml.sax.saxutils import escape

COLORS = ["#1b6ca8", "#5aa9d6", "#2a9d6f", "#8cc9a1", "#b8b8b8"]
LEFT, WIDTH, RIGHT, TOP = 430, 640, 90, 70
BAR, SPACE = 9, 8


def bar_chart(title, groups):
    """`groups`: [(label, [(series, value or None, goal or None)])]. Returns the file's text."""
    most = max(v for _, bars in groups for _, v, _ in bars if v)
    decades = max(1, math.ceil(math.log10(most)))
    series = [name for name, _, _ in groups[0][1]]
    group_height = BAR * len(series) + SPACE
    height = TOP + group_height * len(groups) + 30

    def x(v):
        return LEFT + WIDTH * math.log10(max(v, 1)) / decades

    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" '
           'font-size="12">' % (LEFT + WIDTH + RIGHT, height),
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="22" font-size="16">%s</text>' % escape(title)]
    for i, name in enumerate(series):
        at = 10 + i * 150
        out.append('<rect x="%d" y="34" width="12" height="12" fill="%s"/><text x="%d" y="45">%s</text>'
                   % (at, COLORS[i % len(COLORS)], at + 17, escape(name)))
    at = 10 + len(series) * 150
    out.append('<path d="M%d 33v14" stroke="#c22" stroke-width="2"/><text x="%d" y="45">goal</text>'
               % (at + 5, at + 17))
    for d in range(decades + 1):
        out.append('<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" '
                   'fill="#666">%d</text>' % (x(10 ** d), TOP - 5, height - 25, x(10 ** d), height - 10, 10 ** d))
    for g, (label, bars) in enumerate(groups):
        top = TOP + g * group_height
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>'
                   % (LEFT - 8, top + group_height / 2, escape(label)))
        for i, (_, v, goal) in enumerate(bars):
            if v is None:
                continue
            y = top + i * BAR
            out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" '
                       'font-size="8">%d</text>' % (LEFT, y, max(x(v) - LEFT, 1), BAR - 1,
                                                    COLORS[i % len(COLORS)], x(v) + 3, y + BAR - 2, v))
            if goal:
                out.append('<path d="M%.1f %dv%d" stroke="#c22" stroke-width="2"/>' % (x(goal), y - 1, BAR + 1))
    return "\n".join(out + ["</svg>\n"])
