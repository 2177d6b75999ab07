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
from op3_fall.nodes.latest import Latest
from op3_fall.nodes.parameters import Values
from op3_fall.nodes.running import run_node
from op3_fall.safety import SafetyConfig, guard_gains
from op3_fall.signals import FallEstimate, ImpactEstimate, SensorReading

__all__ = ["GainSchedulerNode", "main"]

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
        self._goal = Latest(self, JointState, topics.GOAL)
        self._request: JointGains | None = None
        self._request_s = -np.inf
        self.create_subscription(SyncWriteItem, topics.SYNC_WRITE, self._on_write, topics.RELIABLE)
        self.create_subscription(
            JointGains, topics.GAIN_REQUEST, self._on_request, topics.RELIABLE
        )
        self.autostart()

    def prepare(self) -> None:
        """Start stiff, and write the nominal registers whatever the servos hold."""
        damped = self._damped.stiffness, self._damped.damping
        self._schedule = GainSchedule(
            self.settings[GainConfig], self.settings[ComplianceConfig], damped
        )
        self._safe = self._nominal = self._registers(_STIFF)
        self._scales = _STIFF
        self._writer = GainWriter(self._nominal)
        self.disarm()

    @property
    def _damped(self) -> Scales:
        safety = self.settings[SafetyConfig]
        return Scales(GainPhase.DAMPED, safety.damped_stiffness_scale, safety.damped_damping_scale)

    def agree(self, values: Values) -> None:
        """The scales lie within their bounds."""
        values[GainConfig].check_scales(values[ComplianceConfig])

    def parameters_changed(self) -> None:
        """New values act at once, in the middle of a fall too."""
        if self._writer is None:
            return
        self._schedule.damped = self._damped
        self._schedule.change(self.settings[GainConfig], self.settings[ComplianceConfig])
        self._nominal = self._registers(_STIFF)
        self._safe = self._registers(self._scales)
        self._writer.want(self._safe)

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

    @property
    def busy(self) -> bool:
        """Gains of a fall are not back yet."""
        return self._writer is not None and self._schedule.busy

    def on_cycle(self) -> None:
        """The driver has run a cycle."""
        if self._writer is None:
            return
        self._writer.cycle()
        fault = self.fault()
        if fault and self.acting:  # the detector may be silent, so that nothing else comes
            self.voice.error("fault", f"{fault}; gains are damped")
            self._apply(self.now_s(), self._schedule.damped)
        self._poll()

    def on_standing(self, time_s: float) -> None:
        """No fall: nominal, but for the mode that is soft at once."""
        if not self.fault():
            self._apply(time_s, self._schedule.standing())

    def on_fall(self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> None:
        """Detectors have judged the reading."""
        told = self._goal.message
        goal = self.columns(told) if told is not None else None
        if self.fault() or goal is None or self._writer is None:
            return
        time_s = float(reading.time_s)
        scales = self._schedule.step(time_s, reading.position, goal[0], fall, impact)
        if self._requested(time_s):
            self._apply(time_s, *self._from_request(scales))
        else:
            self._apply(time_s, scales)

    def _apply(self, time_s: float, scales: Scales, wanted: Registers | None = None) -> None:
        """Turn scales, or the registers behind them, into what the driver shall hold."""
        same = scales == self._scales and wanted is None
        if not self.acting or self._writer is None or (same and not self.under_way):
            return
        if not same:
            gains = self.settings[GainConfig]
            lowest = gains.servo.p_register(gains.min_stiffness_scale)
            wanted = self._registers(scales) if wanted is None else wanted
            self._safe, notes = guard_gains(wanted, self._safe, lowest_p=int(lowest))
            for note in notes:
                self.voice.warning("guard", note)
            self._scales = scales
            self._writer.want(self._safe)
            self._poll()
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

    def _requested(self, time_s: float) -> bool:
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
        if self._writer is None:
            return
        message = self._writer.poll(
            self.now_s(), self._writes.get_subscription_count() - 1  # one is our own
        )  # fmt: skip
        if message is not None:
            self._writes.publish(conversions.sync_write(*message))

    def _on_write(self, message: SyncWriteItem) -> None:
        if self._writer is None:
            return
        values = np.array(message.value, dtype=np.int64)
        if self._writer.heard(message.item_name, values, self.now_s()):
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
