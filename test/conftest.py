# SPDX-License-Identifier: Apache-2.0
"""How tests are spread over processes: whole files, and all that needs ROS to one of them."""

import pytest


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group by file: what a file's tests share, such as a training run, is made once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
