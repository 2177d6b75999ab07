# SPDX-License-Identifier: Apache-2.0
"""What of the model differs from simulation to simulation: masses, friction, slope, bumps."""

import mjbatch
import numpy as np
from numpy.typing import NDArray

from op3_fall.errors import BadInputError
from op3_fall.model import Op3Model
from op3_fall.rotations import multiply
from op3_fall.rows import Rows
from op3_fall.scenarios import Scenario

__all__ = ["Variation"]

Array = NDArray[np.float64]


class Variation:
    """The model's fields of n simulations, each its own only once a scenario varies it.

    Every reset starts from the nominal model, so nothing adds up over resets.
    """

    def __init__(self, model: Op3Model, batch: mjbatch.Batch) -> None:
        """Vary `batch`, of `model`."""
        self._model, self._batch = model, batch
        self._varied: set[str] = set()
        n = batch.num_sims
        self.down = np.tile([0.0, 0.0, -1.0], (n, 1))
        """Unit vector along gravity in the world, whose z is the floor's normal, (n, 3)."""
        self._upright = np.tile([1.0, 0.0, 0.0, 0.0], (n, 1))

    def reset(self, scenario: Scenario, rows: Rows) -> None:
        """Make the models of `rows` (k,) those of the scenario.

        Raises:
            BadInputError: bumps for a model that has none.
        """
        self._vary_bumps(scenario, rows)
        self._vary_gravity(scenario, rows)
        self._vary_friction(scenario, rows)
        self._vary_masses(scenario, rows)

    def level(self, attitude: Array, rows: Rows | slice) -> Array:
        """Attitudes (k, 4) on the floor, of simulations `rows`, as a plumb line sees them."""
        if "gravity" not in self._varied:
            return attitude
        sloped = (self._upright[rows, 1:] != 0).any(axis=-1, keepdims=True)
        return np.where(sloped, multiply(self._upright[rows], attitude), attitude)

    def _varies(self, field: str, now: bool) -> bool:
        if now:
            self._varied.add(field)
        return field in self._varied

    def _vary_friction(self, scenario: Scenario, rows: Rows) -> None:
        if self._varies("geom_friction", bool(np.isfinite(scenario.friction).any())):
            # In a contact the larger friction counts, so all geoms take the floor's.
            given = np.isfinite(scenario.friction)[:, None]
            nominal = self._model.mj.geom_friction[:, 0]
            friction = np.where(given, scenario.friction[:, None], nominal)
            self._batch.expand("geom_friction")[rows, :, 0] = friction

    def _vary_masses(self, scenario: Scenario, rows: Rows) -> None:
        if self._varies("body_mass", bool((scenario.mass_scale != 1).any())):
            mj = self._model.mj
            scale = np.ones((len(rows), mj.nbody))
            for part, bodies in enumerate(self._model.part_bodies):
                scale[:, bodies] = scenario.mass_scale[:, part, None]
            self._batch.expand("body_mass")[rows] = scale * mj.body_mass
            self._batch.expand("body_inertia")[rows] = scale[..., None] * mj.body_inertia
            self._batch.set_const(rows)

    def _vary_gravity(self, scenario: Scenario, rows: Rows) -> None:
        slope, direction = scenario.slope_rad, scenario.slope_direction_rad
        if not self._varies("gravity", bool(slope.any())):
            return
        nominal = self._model.mj.opt.gravity
        cos, sin, half = np.cos(direction), np.sin(direction), slope / 2
        down = np.stack([np.sin(slope) * cos, -np.sin(slope) * sin, -np.cos(slope)], axis=-1)
        sloped = (slope != 0)[:, None]
        self.down[rows] = np.where(sloped, down, [0.0, 0.0, -1.0])
        self._batch.expand("gravity")[rows] = np.where(sloped, np.linalg.norm(nominal) * down,
                                                       nominal)  # fmt: skip
        # Turns `down` into -z, about the level line across the slope.
        self._upright[rows] = np.stack(
            [np.cos(half), np.sin(half) * sin, np.sin(half) * cos, np.zeros_like(half)], axis=-1
        )

    def _vary_bumps(self, scenario: Scenario, rows: Rows) -> None:
        there = np.asarray(~np.isnan(scenario.bumps).all(axis=-1))
        geoms = self._model.bump_ids
        if there.any() and not geoms.size:
            raise BadInputError(
                "scenario has bumps, but the model's floor has none; allowed is a model that was "
                "loaded with them; load it with load_model(bumps=True)"
            )
        if not self._varies("bumps", bool(there.any())):
            return
        mj, at = self._model.mj, np.ix_(rows, geoms)
        half = scenario.bumps[..., 2] / 2
        turn = np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], axis=-1)
        middle = scenario.bumps * [1.0, 1.0, 0.0]
        given = there[..., None]
        self._batch.expand("geom_pos")[at] = np.where(given, middle, mj.geom_pos[geoms])
        self._batch.expand("geom_quat")[at] = np.where(given, multiply(turn, mj.geom_quat[geoms]),
                                                       mj.geom_quat[geoms])  # fmt: skip
