# mujoco's Python names come from binary modules without stubs: let them be anything.
from typing import Any

def __getattr__(name: str) -> Any: ...
