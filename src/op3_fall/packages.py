# SPDX-License-Identifier: Apache-2.0
"""Packages that some commands need and others do without."""

from importlib.util import find_spec

from op3_fall.errors import BadInputError

__all__ = ["check_packages"]


def check_packages(*names: str) -> None:
    """See that they are installed.

    Raises:
        BadInputError: naming the first that is not.
    """
    for name in names:
        if find_spec(name) is None:
            raise BadInputError(
                f"{name} is not installed; this command needs {', '.join(names)}; install with: "
                "pip install -e '.[train]'"
            )
