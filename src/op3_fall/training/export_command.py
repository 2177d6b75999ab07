# SPDX-License-Identifier: Apache-2.0
"""`op3-fall export`: the policy file of a training run."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro

from op3_fall import results
from op3_fall.errors import BadInputError, check_range

__all__ = ["Export", "run_export"]

MOST_FALLS = 100_000
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Export:
    """Write the policy of a training run as an ONNX file that carries its contract."""

    run: tyro.conf.Positional[Path]
    """Folder of the run, such as runs/arms."""
    checkpoint: str = "best"
    """Which of its checkpoints: best, last or a number."""
    out: Path | None = None
    """File to write; policy.onnx in the run's folder if not given."""
    int8: bool = False
    """Weights of 8 bits; refused if robots fall more than 2 % harder with them."""
    falls: int = 200
    """Falls of that comparison."""
    evaluation: Path | None = None
    """summary.json of `op3-fall evaluate`, whose summary goes into the file."""

    def __post_init__(self) -> None:
        """Refuse a number of falls that there cannot be.

        Raises:
            BadInputError: with the value and the range.
        """
        check_range("number of falls", self.falls, 1, MOST_FALLS)


def run_export(args: Export) -> int:
    """Export; exit status 0.

    Raises:
        BadInputError: the run, the checkpoint, the summary or the path cannot be used.
        Op3FallError: the exported numbers are not torch's, or INT8 falls harder.
    """
    summary = _summary(args.evaluation)
    from op3_fall.training.export import OBSERVATIONS, export_policy
    from op3_fall.training.run_folder import Run

    run = Run.load(args.run)
    task, finish = run.make_task(), None
    if args.int8:
        from op3_fall.training.quantise import Quantisation

        finish = Quantisation(run.config, args.falls)
    done = export_policy(
        run.actor(args.checkpoint), task, args.out or args.run / "policy.onnx",
        provenance(run, args.checkpoint, summary), finish=finish,
    )  # fmt: skip
    print(
        f"Policy: {done.path}, {done.bytes / 1e6:.2f} MB; at most {done.deviation:.1g} from torch "
        f"on {OBSERVATIONS} observations; its golden sample agrees"
    )
    return 0


def provenance(run: Any, checkpoint: str, evaluation: dict[str, Any]) -> dict[str, Any]:
    """Where the policy of a `Run` comes from, as its contract tells it."""
    here = results.provenance({}, 0)
    versions = here["versions"] | {name: version(name) for name in _PACKAGES}
    return {
        "training": dict(run.provenance),
        "config_sha256": hashlib.sha256((run.path / "config.yaml").read_bytes()).hexdigest(),
        "checkpoint": checkpoint,
        "export": {"commit": here["commit"], "versions": versions},
        "evaluation": evaluation,
    }


def _summary(path: Path | None) -> dict[str, Any]:
    """What `op3-fall evaluate` found; nothing if it was not given."""
    if path is None:
        return {}
    allowed = "allowed is a summary.json of `op3-fall evaluate`"
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise BadInputError(
            f"evaluation '{path}' cannot be read ({error.strerror}); {allowed}; correct the path"
        ) from error
    except ValueError as error:
        raise BadInputError(
            f"evaluation '{path}' is no JSON ({error}); {allowed}; evaluate again"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("summary"), dict):
        raise BadInputError(f"evaluation '{path}' has no summary; {allowed}; evaluate again")
    return content["summary"]
