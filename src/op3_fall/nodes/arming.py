# SPDX-License-Identifier: Apache-2.0
"""What both nodes that act have in common: arming, the e-stop, and when to trust the sensors."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from op3_fall.errors import Op3FallError
from op3_fall.estop import EStop, EStopState
from op3_fall.msg import EStop as EStopMessage
from op3_fall.msg import FallState, TorqueLoad
from op3_fall.nodes import conversions, topics
from op3_fall.nodes.parameters import Settings
from op3_fall.nodes.running import Voice
from op3_fall.nodes.senses import Senses
from op3_fall.safety import Health, Level, SafetyConfig
from op3_fall.settings import check_settings, choice
from op3_fall.signals import FallEstimate, ImpactEstimate, SensorReading

__all__ = ["ArmedNode", "StartConfig"]


@dataclass(frozen=True)
class StartConfig:
    """How far the node goes by itself at its start."""

    autostart: str = choice("none", "none", "configure", "activate")
    """none; configure: load and check; activate: armed at once, for simulation only."""

    def __post_init__(self) -> None:
        """Refuse other words.

        Raises:
            BadInputError: not one of the choices.
        """
        check_settings(self)


class ArmedNode(LifecycleNode):
    """Unconfigured: deaf. Inactive: listens. Active: armed. The e-stop works in every state."""

    def __init__(self, name: str, *configs: Any, serves_estop: bool) -> None:
        """Declare parameters and join the e-stop; one node in the graph serves it."""
        super().__init__(name)
        self.settings = Settings(
            self, StartConfig(), SafetyConfig(), *configs, changed=self._on_parameters
        )
        self.voice = Voice(self)
        self.armed = False
        self.senses: Senses | None = None
        self.fall: FallEstimate | None = None
        self._fall_s = 0.0
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

    def on_load(self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> None:
        """Everything about one reading is there."""
        raise NotImplementedError

    def on_reading(self, reading: SensorReading, health: Health) -> None:
        """A reading came; the detectors have not judged it yet."""

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
        self.senses = Senses(self, self.settings[SafetyConfig], self.on_reading)
        self._listening = [
            self.create_subscription(
                FallState, topics.FALL_STATE, self._on_fall_state, topics.RELIABLE
            ),
            self.create_subscription(
                TorqueLoad, topics.TORQUE_LOAD, self._on_torque_load, topics.RELIABLE
            ),
        ]
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
        if self.senses is not None:
            self.senses.close()
        for subscription in self._listening:
            self.destroy_subscription(subscription)
        self.senses, self._listening, self.fall = None, [], None
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

    def _on_parameters(self) -> None:
        if self.senses is not None:
            self.senses.guard.config = self.settings[SafetyConfig]
        self.parameters_changed()

    def _on_fall_state(self, message: FallState) -> None:
        self.fall = conversions.fall_estimate(message)
        self._fall_s = conversions.time_of(message.header)

    def _on_torque_load(self, message: TorqueLoad) -> None:
        reading = self.senses.reading if self.senses is not None else None
        if reading is not None and self.fall is not None:
            self.on_load(reading, self.fall, conversions.impact_estimate(message))

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

        Sensors that fail count only during a fall: damping a robot that stands would fell it.
        """
        if self._estop.active:
            return f"e-stop: {self._estop.reason}"
        if self.senses is None or not self.under_way:
            return ""
        health = self.senses.health()
        if health.level == Level.FAULT:
            return health.reason
        age, allowed = self.senses.now_s() - self._fall_s, self.settings[SafetyConfig]
        if age > allowed.fault_after_s:
            return (f"fall detector is silent for {age:.3f} s; allowed is "
                    f"{allowed.fault_after_s:g} s; check that it runs")  # fmt: skip
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
