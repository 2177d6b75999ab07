# SPDX-License-Identifier: Apache-2.0
"""The tables of the environments' page: what they say and where they stand."""

import re
from pathlib import Path

import pytest

pytest.importorskip("gymnasium")

from op3_fall import action, observation
from op3_fall.envs.tables import block_table, fill, tables
from op3_fall.errors import BadInputError

DOCUMENT = Path(__file__).resolve().parents[1] / "docs/environments.md"
pytestmark = pytest.mark.filterwarnings(
    # Gymnasium takes the version for that of a release.
    "ignore:.*The environment .* is out of date.*"
)


def test_a_table_has_a_row_for_each_value_in_the_order_of_the_vector() -> None:
    blocks = (observation.obs_joint(["head_tilt", "head_pan"]), observation.obs_fall_vel(),
              observation.last_action([action.act_kp(["l_el"])]))  # fmt: skip
    assert block_table(blocks) == (
        "| index | name | unit | from | to |\n"
        "| ---: | --- | --- | ---: | ---: |\n"
        "| 0 | `angle/head_tilt` | rad | -2.036 | 1.571 |\n"
        "| 1 | `angle/head_pan` | rad | -1.571 | 1.571 |\n"
        "| 2 | `torque_load/head_tilt` | N m | -4.1 | 4.1 |\n"
        "| 3 | `torque_load/head_pan` | N m | -4.1 | 4.1 |\n"
        "| 4 | `fall_velocity` | rad/s | -10 | 10 |\n"
        "| 5 | `last_action/stiffness_scale/l_el` | 1 | -1 | 1 |\n"
    )


PAGE = """# Page

<!-- begin: a/X-v0 observations -->
old | table
<!-- end -->
between
<!-- begin: a/X-v0 actions -->
<!-- end -->
after
"""
TABLES = {"a/X-v0 observations": "| one |\n| two |\n", "a/X-v0 actions": "| three |\n"}


def test_tables_replace_what_stands_between_their_markers_and_nothing_else() -> None:
    filled = fill(PAGE, TABLES)
    assert filled == PAGE.replace("old | table\n", "| one |\n| two |\n").replace(
        "actions -->\n", "actions -->\n| three |\n"
    )
    assert fill(filled, TABLES) == filled


@pytest.mark.parametrize(
    ("page", "places"),
    [
        ("no tables here", "no marker"),
        (PAGE + PAGE, ", ".join([*TABLES, *TABLES])),
        (PAGE.replace("actions", "action"), "a/X-v0 observations, a/X-v0 action"),
    ],
)
def test_a_page_without_exactly_one_place_for_each_table_is_refused(
    page: str, places: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        fill(page, TABLES)
    assert str(caught.value) == (
        f"tables have their place at {places}; allowed is once at each of a/X-v0 observations, "
        "a/X-v0 actions; correct the markers"
    )


def test_the_documents_tables_are_those_of_the_environments() -> None:
    """If not: python -m op3_fall.envs.tables docs/environments.md."""
    text = DOCUMENT.read_text()
    assert fill(text, tables()) == text


def test_the_documents_examples_run() -> None:
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) >= 3 and names["curriculum"].phase_id == 1  # type: ignore[attr-defined]
    names["SoftenVector"](2).reset(seed=0)  # type: ignore[operator]
