# SPDX-License-Identifier: Apache-2.0
"""What both nodes that act have in common: arming, the e-stop, and when to trust the sensors."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Imu, JointState
from std_srvs.srv import Trigger

from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.estop import EStop, EStopState
from op3_fall.msg import EStop as EStopMessage
from op3_fall.msg import FallState, TorqueLoad
from op3_fall.nodes import conversions, topics
from op3_fall.nodes.latest import Latest
from op3_fall.nodes.parameters import NodeSettings, Values
from op3_fall.nodes.running import Voice
from op3_fall.readings import JointOrder
from op3_fall.safety import SafetyConfig
from op3_fall.settings import Settings, choice
from op3_fall.signals import FallEstimate, ImpactEstimate, SensorReading

__all__ = ["ArmedNode", "StartConfig"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StartConfig(Settings):
    """How far the node goes by itself at its start."""

    autostart: str = choice("none", "none", "configure", "activate")
    """none; configure: load and check; activate: armed at once, for simulation only."""


class ArmedNode(LifecycleNode):
    """Unconfigured: deaf. Inactive: listens. Active: armed. The e-stop works in every state."""

    def __init__(self, name: str, *configs: Any, serves_estop: bool) -> None:
        """Declare parameters and join the e-stop; one node in the graph serves it."""
        super().__init__(name)
        self.settings = NodeSettings(
            self, StartConfig(), SafetyConfig(), *configs, changed=self.parameters_changed,
            agree=self.agree,
        )  # fmt: skip
        self.voice = Voice(self)
        self.armed = False
        self.fall: FallEstimate | None = None
        self._fall_s = 0.0
        self._order = JointOrder()
        self._listening: list[Any] = []
        self._estop = EStop()
        self._estop_states = self.create_publisher(
            EStopMessage, topics.ESTOP_STATE, topics.LATCHED
        )
        self.create_subscription(
            EStopMessage, topics.ESTOP_STATE, self._on_estop_state, topics.LATCHED
        )
        if serves_estop:
            self.create_service(Trigger, topics.ESTOP, self._on_press)
            self.create_service(Trigger, topics.CLEAR_ESTOP, self._on_clear)

    def autostart(self) -> None:
        """Go as far as the parameter says; a step that fails is logged and the last."""
        wanted = self.settings[StartConfig].autostart
        done = TransitionCallbackReturn.SUCCESS
        if wanted != "none" and self.trigger_configure() == done and wanted == "activate":
            self.trigger_activate()

    # What the two nodes fill in.

    def prepare(self) -> None:
        """Load and check; raises `Op3FallError` to refuse."""
        raise NotImplementedError

    needs_imu = False
    """`prepare` sets it where readings must have their IMU's part."""

    @property
    def busy(self) -> bool:
        """Readings matter although no fall is under way."""
        return False

    def on_fall(self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> None:
        """Everything about one reading of a fall is there."""
        raise NotImplementedError

    def on_standing(self, time_s: float) -> None:
        """The robot stands, says the detector of the reading with that stamp."""

    def on_cycle(self) -> None:
        """The driver has run a cycle; the detectors have not judged it yet."""

    def agree(self, values: Values) -> None:
        """Raises `BadInputError` where parameters do not fit each other."""

    def parameters_changed(self) -> None:
        """Accepted changes of parameters are to be taken up."""

    def disarm(self) -> None:
        """Leave the robot in a defined state."""

    # Lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load, check, listen."""
        try:
            self.prepare()
        except Op3FallError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        # In this order the executor takes what has come at the same time.
        self._present = Latest(self, JointState, topics.PRESENT, self.on_cycle)
        self._imu = Latest(self, Imu, topics.IMU) if self.needs_imu else None
        self._listening = [
            self.create_subscription(
                FallState, topics.FALL_STATE, self._on_fall_state, topics.RELIABLE
            ),
        ]
        self._loads = Latest(self, TorqueLoad, topics.TORQUE_LOAD, self._on_torque_load)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Arm."""
        self.armed = True
        self.get_logger().info("armed")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Disarm."""
        self.armed = False
        self.disarm()
        self.get_logger().info("disarmed")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen no longer."""
        for topic in (self._present, self._loads, self._imu):
            if topic is not None:
                topic.close()
        for subscription in self._listening:
            self.destroy_subscription(subscription)
        self._listening, self.fall = [], None
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Disarm for good."""
        self.armed = False
        self.disarm()
        return super().on_shutdown(state)

    def finish(self, spin_once: Callable[[], None]) -> None:
        """The process ends."""
        self.armed = False
        self.disarm()

    # Input.

    def _on_fall_state(self, message: FallState) -> None:
        self.fall = conversions.fall_estimate(message)
        self._fall_s = conversions.time_of(message.header)

    def _on_torque_load(self) -> None:
        """The detector's last message about a reading."""
        if self.fall is None:
            return
        if not (self.under_way or self.busy):
            self.on_standing(self._fall_s)
            return
        reading, load = self._reading(), self._loads.message
        if reading is not None and load is not None:
            self.on_fall(reading, self.fall, conversions.impact_estimate(load))

    def _reading(self) -> SensorReading | None:
        """What the driver published last; without an IMU's part where none is needed."""
        joints = self._present.message
        imu = self._imu.message if self._imu is not None else Imu()
        if joints is None or imu is None:
            return None
        columns = self.columns(joints)
        if columns is None:
            return None
        return conversions.sensor_reading(conversions.time_of(joints.header), columns, imu)

    def columns(self, message: JointState) -> tuple[Array, Array, Array] | None:
        """Position, velocity and effort (20,) each; None, and a word in the log, if unusable."""
        try:
            found = self._order.columns(
                list(message.name), message.position, message.velocity, message.effort
            )
        except BadInputError as error:
            self.voice.error("joints", str(error))
            return None
        if not np.isfinite(found).all():
            self.voice.error(
                "joints", "joint states have numbers that are not finite; allowed are finite "
                "ones; check what publishes them",
            )  # fmt: skip
            return None
        return found

    def now_s(self) -> float:
        """The node's clock, which stands still with a paused simulator."""
        return self.get_clock().now().nanoseconds * 1e-9

    # Trust.

    @property
    def acting(self) -> bool:
        """Armed, or holding the robot because the e-stop is pressed."""
        return self.armed or self._estop.active

    @property
    def under_way(self) -> bool:
        """A fall is under way, as far as known."""
        return self.fall is not None and bool(self.fall.falling)

    def fault(self) -> str:
        """Why targets must hold and gains be damped now, empty if they need not.

        Sensors that fail silence the detector. That counts only during a fall: damping a robot
        that stands would fell it.
        """
        if self._estop.active:
            return f"e-stop: {self._estop.reason}"
        age, allowed = self.now_s() - self._fall_s, self.settings[SafetyConfig].fault_after_s
        if self.under_way and age > allowed:
            return (f"latest fall state is {age:.3f} s old; allowed is {allowed:g} s; check the "
                    "driver and fall_detector, and that they use this clock")  # fmt: skip
        return ""

    # E-stop.

    def _on_press(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._estop.press("pressed by service", self._wall_ns())
        self._tell_estop()
        self.get_logger().error(f"e-stop pressed; clear it with {topics.CLEAR_ESTOP}")
        response.success, response.message = True, "targets hold, gains are damped"
        return response

    def _on_clear(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._estop.active
        response.message = "cleared" if self._estop.active else "it was not pressed"
        self._estop.clear()
        self._tell_estop()
        self._after_clear()
        return response

    def _on_estop_state(self, message: EStopMessage) -> None:
        was_active = self._estop.active
        told = EStopState(message.pressed_ns, message.reason, message.cleared_ns)
        if not self._estop.merge(told):
            return
        self._tell_estop()
        if self._estop.active != was_active:
            self.get_logger().warning(f"e-stop {'pressed' if self._estop.active else 'cleared'}")
            self._after_clear()

    def _after_clear(self) -> None:
        if not (self._estop.active or self.armed):
            self.disarm()

    def _tell_estop(self) -> None:
        state = self._estop.state
        self._estop_states.publish(EStopMessage(
            active=state.active, pressed_ns=state.pressed_ns, cleared_ns=state.cleared_ns,
            reason=state.reason,
        ))  # fmt: skip

    @staticmethod
    def _wall_ns() -> int:
        """Of the wall, also in simulation, whose time starts again."""
        return time.time_ns()
