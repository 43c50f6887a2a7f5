"""A heat map as an HTML table: attacks by pack and rate, coloured by the share of poison found."""

from __future__ import annotations

from html import escape
from typing import Any

from bezoar.report.text import percent, shown

_STEPS = 10  # colours: from 0 to 100 % in tenths; one class each, so that the page needs no inline style
_COLOURS = (
    "#7f1d1d", "#991b1b", "#b91c1c", "#c2410c", "#d97706", "#eab308", "#bef264", "#86efac", "#34d399", "#059669",
)  # fmt: skip
_LIGHT_TEXT = (0, 1, 2, 3, 9)


def _style() -> str:
    rules = [
        "table.heat { border-collapse: collapse; font-size: .6rem; line-height: 1.2 }",
        "table.heat th, table.heat td { border: 1px solid var(--md-default-bg-color, #fff); padding: .2rem .3rem; "
        "text-align: center; min-width: 2rem }",
        "table.heat th[scope=row] { text-align: left; white-space: nowrap }",
        "table.heat small { display: block; opacity: .8 }",
        "table.heat .none { background: #8884 }",
        "table.heat .not-taken { background: repeating-linear-gradient(45deg, #8883 0 4px, #8887 4px 8px) }",
        "div.heat { overflow-x: auto }",
    ]
    for step, colour in enumerate(_COLOURS):
        ink = "#fff" if step in _LIGHT_TEXT else "#000"
        rules.append(f"table.heat .t{step} {{ background: {colour}; color: {ink} }}")
    return "<style>\n" + "\n".join(rules) + "\n</style>"


STYLE = _style()


def heat_map(summary: dict[str, Any]) -> str:
    """One table for each modality: rows are attacks, columns packs and within them rates."""
    groups = summary["attacks"]
    tables = []
    for rows in _by_packs(groups):
        members = [group for group in groups if group["setting"] in rows]
        packs = list(dict.fromkeys(group["pack"] for group in members))
        rates = {
            pack: sorted({group["rate"] for group in members if group["pack"] == pack}) for pack in packs
        }
        cells = {(group["setting"], group["pack"], group["rate"]): group for group in members}
        tables.append(_table(summary["packs"], rows, rates, cells))
    return "\n\n".join(tables) if tables else "Not measured."


def _by_packs(groups: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Settings (name to title) that are measured on the same packs."""
    packs: dict[str, set[str]] = {}
    titles: dict[str, str] = {}
    for group in groups:
        packs.setdefault(group["setting"], set()).add(group["pack"])
        titles[group["setting"]] = group["title"]
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    for setting, names in packs.items():
        alike.setdefault(tuple(sorted(names)), {})[setting] = titles[setting]
    return list(alike.values())


def _table(
    titles: dict[str, str],
    rows: dict[str, str],
    rates: dict[str, list[float]],
    cells: dict[tuple[str, str, float], dict[str, Any]],
) -> str:
    lines = ['<div class="heat"><table class="heat">', "<thead>", '<tr><th rowspan="2">attack</th>']
    lines += [f'<th colspan="{len(each)}">{escape(shown(titles[pack]))}</th>' for pack, each in rates.items()]
    lines += ["</tr>", "<tr>"]
    lines += [f"<th>{escape(percent(rate))}</th>" for each in rates.values() for rate in each]
    lines += ["</tr>", "</thead>", "<tbody>"]
    for setting, title in rows.items():
        places = [(setting, pack, rate) for pack, each in rates.items() for rate in each]
        shades = "".join(_cell(cells.get(place)) for place in places)
        lines.append(f'<tr><th scope="row">{escape(shown(title))}</th>{shades}</tr>')
    return "\n".join([*lines, "</tbody>", "</table></div>"])


def _cell(group: dict[str, Any] | None) -> str:
    if group is None:
        return "<td></td>"  # this setting is not planned at this rate
    tried = group["trials"] + group["implied"]
    if group["impossible"] == group["planned"]:
        return '<td title="more poison than the data has room for">-</td>'
    trials = f"<small>{group['took']} of {tried}</small>"
    if not group["took"]:
        if tried + group["impossible"] < group["planned"]:
            return f'<td class="none" title="not measured, or in part">{trials if tried else ""}</td>'
        return f'<td class="not-taken" title="the attack did not take">·{trials}</td>'
    value = group["tpr"]["value"]
    step = min(int(value * _STEPS), _STEPS - 1)
    return f'<td class="t{step}">{escape(_short(value))}{trials}</td>'


def _short(value: float) -> str:
    """Whole percents; 100 only when nothing is missing, 0 only when nothing was found."""
    whole = round(100 * value)
    if whole == 100 and value < 1:
        whole = 99
    return "< 1" if whole == 0 and value > 0 else str(whole)
