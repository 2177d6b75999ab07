# SPDX-License-Identifier: Apache-2.0
"""How `make test` spreads tests over processes."""

from pathlib import Path
from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's, which colcon test does without
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files: what their tests share is made once. Those that know ROS go to one process.

    pytest-xdist's own `--dist loadgroup` groups nothing under pytest 9.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            needs_ros = "rclpy" in Path(config.rootpath, file).read_text()
            return "ROS" if needs_ros else file

    return Files(config, log)
