"""The picture of the code in CONTRIBUTING.md, drawn from the imports: `python -m tests.import_picture` writes it."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping

from tests.test_layers import LAYERS, MODULES, PACKAGE, imports_of, part_of

CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
BEGIN, END = "<!-- picture: python -m tests.import_picture -->\n", "<!-- end of the picture -->\n"
# Single modules that are one thing to a reader. `base` lies below everything, so no arrow to it is drawn.
GROUPS = {"budget": "config", "baselines": "config"} | {x: "base" for x, layer in LAYERS.items() if layer == 0}
Edges = dict[str, set[str]]


def package_imports() -> Edges:
    """What each package of hil_nas imports of the others."""
    edges: Edges = {}
    for module in MODULES:
        importer = _node(part_of(module))
        for name in imports_of(ast.parse(module.read_text(encoding="utf-8"))):
            top, *rest = name.split(".")
            if importer != "__init__" and top == "hil_nas" and rest:
                edges.setdefault(importer, set()).add(_node(rest[0]))
                edges.setdefault(_node(rest[0]), set())
    return {node: targets - {node} for node, targets in edges.items()}


def _node(part: str) -> str:
    return GROUPS.get(part, part)


def reduced(edges: Mapping[str, set[str]]) -> Edges:
    """The transitive reduction: without the edges that longer ways make plain.

    Raises:
        ValueError: where packages import each other in a circle.
    """
    below = {x: _reached(edges, x) for x in edges}
    circle = sorted(x for x in edges if x in below[x])
    if circle:
        raise ValueError(f"these packages import each other in a circle: {', '.join(circle)}")
    return {x: {y for y in targets if not any(y in below[z] for z in targets)} for x, targets in edges.items()}


def _reached(edges: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    pending = list(edges[start])
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending += edges[node]
    return reached


def picture() -> str:
    """The graph as Mermaid, which GitHub draws: an arrow from who imports to what is imported."""
    edges = reduced({x: y - {"base"} for x, y in package_imports().items() if x != "base"})
    order = sorted(edges, key=lambda x: (-LAYERS[x], x))
    lines = [f'    {x}["<b>{x}</b>{_label(x)}"]' for x in order]
    lines += [f"    {x} --> {y}" for x in order for y in sorted(edges[x])]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def _label(node: str) -> str:
    """How the package's docstring begins, up to a full stop or to a colon behind a few words."""
    path = PACKAGE / node / "__init__.py"
    docstring = ast.get_docstring(ast.parse((path if path.exists() else PACKAGE / f"{node}.py").read_text())) or ""
    first = " ".join(docstring.split("\n\n")[0].split()).split(". ")[0].removesuffix(".")
    before_colon = first.split(":")[0]
    first = (before_colon if before_colon.count(" ") > 2 else first).replace("`", "").replace('"', "'")
    return "".join(f"<br/>{x}" for x in textwrap.wrap(first, 34))


def parts(text: str) -> tuple[str, str, str]:
    """A page before its picture, the picture, and the page behind it."""
    before, _, rest = text.partition(BEGIN)
    inside, _, behind = rest.partition(END)
    return before + BEGIN, inside, END + behind


if __name__ == "__main__":
    head, _, tail = parts(CONTRIBUTING.read_text(encoding="utf-8"))
    CONTRIBUTING.write_text(head + picture() + tail, encoding="utf-8")
