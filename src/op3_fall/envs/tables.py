# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/environments.md: what each value of an observation or action is.

`python -m op3_fall.envs.tables docs/environments.md` rewrites them from the environments' blocks.
A table stands between the lines `<!-- begin: ID observations -->` (or `actions`) and
`<!-- end -->`.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from op3_fall.blocks import Block
from op3_fall.envs import IDS
from op3_fall.errors import BadInputError

__all__ = ["block_table", "fill", "tables", "update"]

_MARKED = re.compile(r"(?<=<!-- begin: )(.+?)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def block_table(blocks: Sequence[Block]) -> str:
    """A Markdown table with a row for each value: index, name, unit and range in SI."""
    lines = ["| index | name | unit | from | to |", "| ---: | --- | --- | ---: | ---: |"]
    rows = [
        f"`{name}` | {term.unit} | {low:.4g} | {high:.4g} |"
        for block in blocks
        for term in block.terms
        for name, low, high in zip(term.names, term.low, term.high, strict=True)
    ]
    lines += [f"| {i} | {row}" for i, row in enumerate(rows)]
    return "\n".join(lines) + "\n"


def tables() -> dict[str, str]:
    """Every registered environment's tables by what their markers say."""
    found = {}
    for name, env_class in IDS.items():
        env = env_class()
        found[f"{name} observations"] = block_table(env.observation_blocks())
        found[f"{name} actions"] = block_table(env.action_blocks())
    return found


def fill(text: str, by_marker: Mapping[str, str]) -> str:
    """The text with each table in its place.

    Raises:
        BadInputError: not exactly one place for each table.
    """
    places = [match[1] for match in _MARKED.finditer(text)]
    if sorted(places) != sorted(by_marker):
        raise BadInputError(
            f"tables have their place at {', '.join(places) or 'no marker'}; allowed is once at "
            f"each of {', '.join(by_marker)}; correct the markers"
        )
    return _MARKED.sub(lambda match: f"{match[1]}{match[2]}{by_marker[match[1]]}", text)


def update(path: Path) -> None:
    """Rewrite the tables of a file.

    Raises:
        BadInputError: not exactly one place for each table.
    """
    path.write_text(fill(path.read_text(), tables()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rewrite the tables of a file.")
    parser.add_argument("path", type=Path, help="such as docs/environments.md")
    update(parser.parse_args().path)
