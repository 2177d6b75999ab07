# SPDX-License-Identifier: Apache-2.0
"""`gain_scheduler`: stiffness and damping scales over a fall, as registers; the only gain writer.

Restores the nominal registers on deactivate, on shutdown, and when it is configured, since a
scheduler that crashed in a fall has left the joints soft and nobody else restores them.
"""

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from robotis_controller_msgs.msg import SyncWriteItem
from sensor_msgs.msg import JointState

from op3_fall import robot
from op3_fall.compliance import ComplianceConfig
from op3_fall.gain_schedule import GainConfig, GainPhase, GainSchedule, Scales
from op3_fall.gain_writer import DRAIN_S, GainWriter, Registers
from op3_fall.msg import JointGains
from op3_fall.nodes import conversions, topics
from op3_fall.nodes.arming import ArmedNode
from op3_fall.nodes.running import run_node
from op3_fall.safety import Health, SafetyConfig, guard_gains
from op3_fall.signals import FallEstimate, ImpactEstimate, SensorReading

__all__ = ["GainSchedulerNode", "main"]

_POLL_S = 0.02
_REQUEST_S = 0.06
"""Gains that a policy asks for hold for three control periods; then the schedule takes over."""
_STIFF = Scales(GainPhase.STIFF, 1.0, 1.0)


class GainSchedulerNode(ArmedNode):
    """Runs the schedule and keeps the driver's registers in step with it."""

    def __init__(self) -> None:
        """Declare parameters; everything else happens when it is configured."""
        super().__init__("gain_scheduler", GainConfig(), ComplianceConfig(), serves_estop=True)
        self._writes = self.create_publisher(SyncWriteItem, topics.SYNC_WRITE, topics.RELIABLE)
        self._gains = self.create_publisher(JointGains, topics.JOINT_GAINS, topics.RELIABLE)
        self._writer: GainWriter | None = None
        self._goal: np.ndarray | None = None
        self._request: JointGains | None = None
        self._request_s = -np.inf
        self.create_subscription(JointState, topics.GOAL, self._on_goal, topics.RELIABLE)
        self.create_subscription(SyncWriteItem, topics.SYNC_WRITE, self._on_write, topics.RELIABLE)
        self.create_subscription(
            JointGains, topics.GAIN_REQUEST, self._on_request, topics.RELIABLE
        )
        self.create_timer(_POLL_S, self._poll)
        self.autostart()

    def prepare(self) -> None:
        """Start stiff, and write the nominal registers whatever the servos hold."""
        gains, safety = self.settings[GainConfig], self.settings[SafetyConfig]
        damped = safety.damped_stiffness_scale, safety.damped_damping_scale
        self._schedule = GainSchedule(gains, self.settings[ComplianceConfig], damped)
        self._nominal = self._registers(_STIFF)
        self._safe, self._scales = self._nominal, _STIFF
        self._writer = GainWriter(self._nominal)
        self.disarm()

    def parameters_changed(self) -> None:
        """New scales act at once, in the middle of a fall too."""
        if self._writer is not None:
            self._schedule.change(self.settings[GainConfig], self.settings[ComplianceConfig])

    def disarm(self) -> None:
        """The nominal registers; sent from now on until the driver has had them."""
        if self._writer is None:
            return
        self._scales, self._safe = _STIFF, self._nominal
        self._writer.want(self._nominal)
        self._writer.force()

    def finish(self, spin_once: Callable[[], None]) -> None:
        """Restore, and go only when the driver has had it or is gone."""
        super().finish(spin_once)
        deadline = time.monotonic() + DRAIN_S
        while self._writer and not self._writer.written and time.monotonic() < deadline:
            spin_once()
            self._poll()

    def on_reading(self, reading: SensorReading, health: Health) -> None:
        """The driver has run a cycle."""
        if self._writer is None:
            return
        self._writer.cycle()
        if self.fault():  # the detectors may be silent, so that on_load would not come
            self._apply(reading, self.fall, None)
        self._poll()

    def on_load(self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> None:
        """Detectors have judged the reading."""
        if not self.fault():
            self._apply(reading, fall, impact)

    def _apply(
        self, reading: SensorReading, fall: FallEstimate | None, impact: ImpactEstimate | None
    ) -> None:
        """Turn the schedule's scales into registers, if armed."""
        if not self.acting or self._writer is None or self._goal is None:
            return
        fault = self.fault()
        time_s = float(reading.time_s)
        if fault or fall is None or impact is None:
            self.voice.error("fault", f"{fault}; gains are damped")
            scales, wanted = self._schedule.damped, self._registers(self._schedule.damped)
        else:
            scales = self._schedule.step(time_s, reading.position, self._goal, fall, impact)
            wanted = self._registers(scales)
            if self._requested(time_s, scales):
                scales, wanted = self._from_request(scales)
        lowest = self.settings[GainConfig].servo.p_register(
            self.settings[GainConfig].min_stiffness_scale
        )
        safe, notes = guard_gains(wanted, self._safe, lowest_p=int(lowest))
        for note in notes:
            self.voice.warning("guard", note)
        changed = scales != self._scales
        self._safe, self._scales = safe, scales
        if changed:
            self._writer.want(safe)
            self._poll()
        if changed or self.under_way:
            self._tell(time_s)

    def _registers(self, scales: Scales) -> Registers:
        """Registers (20,) of the scales."""
        gains = self.settings[GainConfig]
        ones = np.ones(robot.NUM_JOINTS)
        return Registers(
            position_p_gain=gains.servo.p_register(scales.stiffness * ones),
            position_d_gain=gains.servo.d_register(scales.damping * ones),
            goal_pwm=np.full(robot.NUM_JOINTS, gains.nominal_goal_pwm),
            position_i_gain=np.full(robot.NUM_JOINTS, gains.nominal_i_gain),
        )

    def _requested(self, time_s: float, scales: Scales) -> bool:
        fresh = time_s - self._request_s <= _REQUEST_S
        return fresh and self.under_way and self.settings[GainConfig].mode == "compliant"

    def _from_request(self, scales: Scales) -> tuple[Scales, Registers]:
        """What the policy asks for: it schedules the gains itself."""
        request = self._request
        assert request is not None
        wanted = self._registers(scales)._replace(
            position_p_gain=np.array(request.p_gain), position_d_gain=np.array(request.d_gain),
            goal_pwm=np.array(request.goal_pwm),
        )  # fmt: skip
        asked = Scales(GainPhase.SOFT, request.stiffness_scale, request.damping_scale)
        return asked, wanted

    def _tell(self, time_s: float) -> None:
        assert self._writer is not None
        self._gains.publish(
            conversions.joint_gains(time_s, self._scales, self._safe, self._writer.written)
        )

    def _poll(self) -> None:
        """Send what is due."""
        if self._writer is None or self.senses is None:
            return
        message = self._writer.poll(
            self.senses.now_s(), self._writes.get_subscription_count() - 1  # one is our own
        )  # fmt: skip
        if message is not None:
            self._writes.publish(conversions.sync_write(*message))

    def _on_goal(self, message: JointState) -> None:
        if list(message.name) == list(robot.JOINTS) and len(message.position) == robot.NUM_JOINTS:
            self._goal = np.array(message.position)

    def _on_write(self, message: SyncWriteItem) -> None:
        if self._writer is None or self.senses is None:
            return
        values = np.array(message.value, dtype=np.int64)
        if self._writer.heard(message.item_name, values, self.senses.now_s()):
            self.voice.warning(
                "foreign",
                f"another node wrote {message.item_name} in the same cycle; gains are sent again",
            )

    def _on_request(self, message: JointGains) -> None:
        lengths = {len(message.p_gain), len(message.d_gain), len(message.goal_pwm)}
        if lengths == {robot.NUM_JOINTS}:
            self._request, self._request_s = message, conversions.time_of(message.header)
        else:
            self.voice.error("request",
                f"gain request has {sorted(lengths)} registers; allowed is {robot.NUM_JOINTS} of "
                "each; it is ignored"
            )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; exit status 0, or 2 after bad input."""
    return run_node(GainSchedulerNode, argv)


if __name__ == "__main__":
    sys.exit(main())
