# SPDX-License-Identifier: Apache-2.0
"""`policy`: on a fall takes the joints over and streams targets; the only writer of targets."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from robotis_controller_msgs.msg import JointCtrlModule
from robotis_controller_msgs.srv import GetJointModule
from sensor_msgs.msg import JointState
from std_msgs.msg import Int32, String

from op3_fall import robot
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.gain_schedule import GainPhase, Scales
from op3_fall.gain_writer import Registers
from op3_fall.msg import JointGains
from op3_fall.nodes import conversions, topics
from op3_fall.nodes.arming import ArmedNode
from op3_fall.nodes.running import run_node
from op3_fall.reflex import FallReflex, Move, Policy, ReflexConfig, ScriptedPolicy
from op3_fall.resources import policy_path
from op3_fall.safety import SafetyConfig, TargetGuard
from op3_fall.settings import Settings, choice, setting
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

__all__ = ["PolicyConfig", "PolicyNode", "main"]

_BRAKE = -2
"""On /robotis/action/page_num: stop a running motion at once, or the joints stay its own."""


@dataclass(frozen=True)
class PolicyConfig(Settings):
    """What decides on the targets."""

    policy_file: str = "arms_legs"
    """A shipped policy by its name (arms, arms_legs, roll), or an ONNX file; empty: the scripted
    protective pose."""
    fallback: bool = True
    """The scripted pose where that policy cannot run, as with stock sensing; false: refuse."""
    pose: str = choice("protect_front", *robot.POSES)
    """Protective pose of the scripted policy."""
    profile: str = choice("extended", "extended", "stock", "ideal")
    """What the driver reads; a policy may need more than stock."""
    voltage_v: float = setting(12.0, 11.1, 14.8, unit="V")
    """Supply voltage under load, V: 11.1 on the OP3's battery, 12 on its power supply."""


class PolicyNode(ArmedNode):
    """Runs the reflex; it sends nothing but during a fall, and nothing while a fault lasts."""

    def __init__(self) -> None:
        """Declare parameters; the policy is loaded when the node is configured."""
        super().__init__("policy", PolicyConfig(), ReflexConfig(), serves_estop=False)
        self._targets = self.create_publisher(JointState, topics.SET_JOINT_STATES, topics.RELIABLE)
        self._modules = self.create_publisher(String, topics.ENABLE_MODULE, topics.RELIABLE)
        self._pages = self.create_publisher(Int32, topics.ACTION_PAGE, topics.RELIABLE)
        self._requests = self.create_publisher(JointGains, topics.GAIN_REQUEST, topics.RELIABLE)
        self._reflex: FallReflex | None = None
        self._owned = False
        self.create_subscription(
            JointCtrlModule, topics.MODULES, self._on_modules, topics.RELIABLE
        )
        self._ask = self.create_client(GetJointModule, topics.GET_MODULES)
        self.autostart()

    def prepare(self) -> None:
        """Load the policy and check that it fits."""
        config = self.settings[PolicyConfig]
        scripted = ScriptedPolicy(robot.POSES[config.pose])
        policy, name = self._network(config) or scripted, config.policy_file
        self.needs_imu = policy is not scripted
        guard = TargetGuard(self.settings[SafetyConfig])
        self._reflex = FallReflex(
            policy, guard, self.settings[ReflexConfig], sets_gains=_sets_gains(policy)
        )
        told = name if self.needs_imu else f"scripted pose {config.pose}"
        self.get_logger().info(f"policy: {told}")
        self._ask_modules()

    def _network(self, config: PolicyConfig) -> Policy | None:
        """The policy of a file; None for the scripted pose.

        Raises:
            Op3FallError: it cannot run here, and there shall be no fallback.
        """
        if not config.policy_file:
            return None
        try:
            return _load(config, self.settings[ReflexConfig])
        except Op3FallError as error:
            if not config.fallback:
                raise
            self.get_logger().error(f"{error}; the scripted pose takes its place")
            return None

    def parameters_changed(self) -> None:
        """Rhythm and limits act at once, another policy at the next configure."""
        if self._reflex is not None:
            self._reflex.config = self.settings[ReflexConfig]

    @property
    def busy(self) -> bool:
        """The reflex has not come to its end."""
        return self._reflex is not None and self._reflex.active

    def on_fall(self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> None:
        """Detectors have judged the reading: take the reflex a step further."""
        if self._reflex is None or not self.armed:
            return
        fault = self.fault()
        if fault and self._reflex.active:
            self.voice.error("fault", f"{fault}; targets hold")
        move = self._reflex.step(
            reading, fall, impact, owned=self._owned, hold=bool(fault)
        )  # fmt: skip
        self._send(move, float(reading.time_s))

    def _send(self, move: Move, time_s: float) -> None:
        if move.take_over:
            self.get_logger().info("fall: taking the joints over")
            self._pages.publish(Int32(data=_BRAKE))
            self._modules.publish(String(data="none"))
        if move.target is not None:
            zeros = np.zeros(robot.NUM_JOINTS)
            self._targets.publish(conversions.joint_state(time_s, move.target, zeros, zeros))
        if move.gains is not None:
            self._requests.publish(self._request(move.gains, time_s))
        for note in move.notes:
            self.voice.warning("guard", note)

    def _request(self, wanted: JointCommand, time_s: float) -> JointGains:
        """The gains that the policy asks the scheduler for."""
        servo = robot.Servo(self.settings[PolicyConfig].voltage_v)
        extra = wanted.d_gain.mean() * servo.damping_per_d / servo.back_emf_damping
        scales = Scales(GainPhase.SOFT, wanted.p_gain.mean() / servo.NOMINAL_P, 1 + extra)
        none = np.zeros(robot.NUM_JOINTS, dtype=np.int64)
        registers = Registers(wanted.p_gain, wanted.d_gain, wanted.goal_pwm, none)
        return conversions.joint_gains(time_s, scales, registers, written=False)

    def _ask_modules(self) -> None:
        """Who owns the joints now: the driver tells by itself only when that changes."""
        if self._ask.service_is_ready():
            names = GetJointModule.Request(joint_name=list(robot.JOINTS))
            self._ask.call_async(names).add_done_callback(
                lambda future: self._on_modules(future.result())
            )

    def _on_modules(self, message: JointCtrlModule | GetJointModule.Response) -> None:
        owners = set(message.module_name)
        self._owned = owners == {"none"} and len(message.joint_name) == robot.NUM_JOINTS


def _sets_gains(policy: Policy) -> bool:
    """Whether the gains in its commands count; else the schedule's do."""
    contract = getattr(policy, "contract", None)
    return contract is not None and any(b.name.startswith("act_k") for b in contract.action)


def _load(config: PolicyConfig, reflex: ReflexConfig) -> Policy:
    """The policy of a file.

    Raises:
        Op3FallError: the file is missing, damaged or not made for this robot, or nothing is
            installed that runs it.
    """
    if find_spec("onnxruntime") is None:
        raise BadInputError(
            "onnxruntime is not installed; policies need it; install it with: pip install -e "
            "'.[policy]'"
        )
    # Only who runs a network needs onnxruntime.
    from op3_fall.onnx_policy import OnnxPolicy
    from op3_fall.policy_spec import Installation

    here = Installation(
        sensor_profile=config.profile, voltage_v=config.voltage_v,
        control_period_s=reflex.control_period_s,
    )  # fmt: skip
    return OnnxPolicy.load(policy_path(config.policy_file), here)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; exit status 0, or 2 after bad input."""
    return run_node(PolicyNode, argv)


if __name__ == "__main__":
    sys.exit(main())
