# SPDX-License-Identifier: Apache-2.0
"""The driver's rules: who may move a joint, which bytes go where, and when."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from op3_fall import robot
from op3_fall.control_table import from_register, to_register
from op3_fall.driver import BUTTONS, Driver, DriverCycle
from op3_fall.driver_events import Level
from op3_fall.errors import BadInputError
from op3_fall.motion_pages import PAGES

STAND = robot.POSES["stand"]
NAMES = list(robot.JOINTS)
ELBOW, KNEE = robot.JOINT_INDEX["l_el"], robot.JOINT_INDEX["l_knee"]
COUNT = 2 * np.pi / 4096


class Rig:
    """A driver whose robot stands still, and all that it has told."""

    def __init__(self, *, free: bool = True, merge_bug: bool = True, boot: bool = False) -> None:
        self.driver = Driver(STAND, merge_bug=merge_bug, boot=boot)
        self.position = STAND.copy()
        self.statuses: list[str] = []
        self.done: list[str] = []
        self.maps: list[tuple[str, ...]] = []
        self.warnings: list[str] = []
        self.last: DriverCycle
        if free:
            self.driver.enable_ctrl_module("none")
        self.run(1)

    def run(self, cycles: int) -> DriverCycle:
        for _ in range(cycles):
            self.last = self.driver.cycle(self.position)
            events = self.last.events
            self.statuses += [f"{s.module}: {s.text}" for s in events.statuses]
            self.done += events.movement_done
            self.maps += events.module_maps
            self.warnings += events.warnings
        return self.last

    def owner(self, joint: str = "l_el") -> str:
        return self.driver.modules_of([joint])[0][1]

    def cycles_until(self, happened: Callable[[], bool], limit: int = 1000) -> int:
        for cycle in range(1, limit):
            self.run(1)
            if happened():
                return cycle
        raise AssertionError("it never happened")

    def register(self, name: str, joint: int = ELBOW) -> int:
        return int(self.driver.servos.read(name)[joint])

    def write(self, item: str, joints: list[str], *values: int) -> None:
        self.driver.sync_write_item(item, joints, values)


# Targets


def test_a_target_goes_out_in_the_next_cycle_and_is_held() -> None:
    rig = Rig()
    rig.driver.set_joint_states(["l_el"], [-0.5])
    for _ in range(3):
        assert rig.run(1).goal[ELBOW] == -0.5
        # Cut to a count, then as the servo sees it: 4096 counts a turn.
        assert rig.last.command.position[ELBOW] == (to_register(-0.5) - 2048) * COUNT
    np.testing.assert_allclose(rig.last.goal[KNEE], STAND[KNEE], atol=COUNT)


@given(st.floats(-3.1, 3.1))
def test_goals_are_cut_to_counts(angle: float) -> None:
    rig = Rig()
    rig.driver.set_joint_states(["l_el"], [angle])
    written = rig.run(1).command.position[ELBOW]
    assert abs(written - angle) < 2.1 * COUNT
    assert written / COUNT == pytest.approx(round(written / COUNT), abs=1e-9)


def test_a_goal_beyond_the_encoder_is_kept_by_the_driver_and_refused_by_the_servo() -> None:
    rig = Rig()
    rig.driver.set_joint_states(["l_el"], [-0.5])
    rig.run(1)
    rig.driver.set_joint_states(["l_el"], [3.3])
    assert rig.run(1).goal[ELBOW] == 3.3
    assert rig.last.command.position[ELBOW] == pytest.approx(-0.5, abs=2 * COUNT)
    assert rig.warnings == [
        "servo l_el rejects a write: goal_position is 4198, outside its position limits"
    ]


def test_an_owned_joint_takes_no_targets() -> None:
    rig = Rig(free=False)
    assert rig.owner() == "base_module"
    rig.driver.set_joint_states(["l_el"], [-0.5])
    assert rig.run(1).goal[ELBOW] == pytest.approx(STAND[ELBOW], abs=COUNT)
    rig.driver.set_joint_ctrl_modules(["l_el"], ["none"])
    rig.driver.set_joint_states(["l_el", "l_knee"], [-0.5, 0.5])
    assert rig.run(1).goal[ELBOW] == -0.5
    assert rig.last.goal[KNEE] == pytest.approx(STAND[KNEE], abs=COUNT)


@pytest.mark.parametrize(
    ("names", "positions", "warning"),
    [
        (["l_el", "l_knee"], [0.1], "set_joint_states has 2 names and 1 positions; it is skipped"),
        (["l_el"], [np.nan], "set_joint_states has a position that is not finite; it is skipped"),
        (["l_el"], [np.inf], "set_joint_states has a position that is not finite; it is skipped"),
        (["nose"], [0.1], "set_joint_states: there is no joint 'nose'"),
    ],
)
def test_a_malformed_target_is_skipped(
    names: list[str], positions: list[float], warning: str
) -> None:
    rig = Rig()
    before = rig.last.goal
    rig.driver.set_joint_states(names, positions)
    np.testing.assert_array_equal(rig.run(1).goal, before)
    assert rig.warnings == [warning]


def test_known_joints_are_moved_though_others_are_unknown() -> None:
    rig = Rig()
    rig.driver.set_joint_states(["nose", "l_el"], [0.1, -0.5])
    assert rig.run(1).goal[ELBOW] == -0.5


def test_direct_control_mode_is_a_trap() -> None:
    rig = Rig()
    rig.driver.set_control_mode("DirectControlMode")
    rig.driver.set_joint_states(["l_el"], [-0.5])
    before = rig.register("goal_position")
    wants = [rig.run(1).wants_power for _ in range(9)]
    assert rig.last.imu_frozen
    assert rig.last.goal[ELBOW] == -0.5  # it says so, but
    assert rig.register("goal_position") == before
    assert wants == [False] * 6 + [True] * 3  # data older than 50 ms
    rig.write("goal_position", ["l_el"], 2000)
    rig.run(1)
    assert rig.register("goal_position") == 2000
    rig.driver.set_control_mode("motionmodulemode")
    assert rig.run(1).imu_frozen
    assert rig.warnings == ["set_control_mode: there is no mode 'motionmodulemode'"]
    rig.driver.set_control_mode("MotionModuleMode")
    rig.run(1)
    assert not rig.last.imu_frozen and not rig.last.wants_power
    assert rig.register("goal_position") == to_register(-0.5)


# Registers


def test_an_item_goes_out_in_the_next_cycle_whoever_owns_the_joint() -> None:
    rig = Rig(free=False)
    rig.write("position_p_gain", NAMES, *range(100, 120))
    rig.run(1)
    assert rig.last.command.p_gain.tolist() == list(range(100, 120))
    assert rig.run(5).command.p_gain.tolist() == list(range(100, 120))  # nobody restores them


def test_merge_bug_the_second_item_of_the_same_joints_is_lost() -> None:
    rig = Rig()
    rig.write("position_p_gain", NAMES, *[300] * 20)
    rig.write("position_d_gain", NAMES, *[50] * 20)
    command = rig.run(1).command
    assert (command.p_gain == 300).all()
    assert (command.d_gain == 0).all()
    rig.write("position_d_gain", NAMES, *[50] * 20)  # a cycle later it is taken
    assert (rig.run(1).command.d_gain == 50).all()


def test_merge_bug_another_joints_item_lands_in_the_first_ones_register() -> None:
    rig = Rig()
    rig.write("position_p_gain", ["l_el"], 300)
    rig.write("position_d_gain", ["l_knee"], 50)
    rig.run(1)
    assert rig.register("position_p_gain", ELBOW) == 300
    assert rig.register("position_p_gain", KNEE) == 50
    assert rig.register("position_d_gain", KNEE) == 0


@pytest.mark.parametrize(
    ("first", "second", "register", "value"),
    [
        # 300 is 0x012c: its low byte alone fits the LED's register, which takes 0 or 1.
        (("LED", 1), ("position_p_gain", 300), "LED", 0),
        (("LED", 1), ("position_p_gain", 257), "LED", 1),
        # The cap's two bytes as a four-byte goal.
        (("goal_position", 2048), ("goal_pwm", 400), "goal_position", 400),
    ],
)
def test_merge_bug_with_registers_of_other_lengths(
    first: tuple[str, int], second: tuple[str, int], register: str, value: int
) -> None:
    rig = Rig()
    rig.driver.set_control_mode("DirectControlMode")  # goals are not written over
    rig.write(first[0], ["l_el"], first[1])
    rig.write(second[0], ["l_knee"], second[1])
    rig.run(1)
    assert rig.register(register, KNEE) == value
    assert rig.register("position_p_gain", KNEE) == 800
    assert rig.register("goal_pwm", KNEE) == 885


def test_merge_bug_open_cr_spoils_servos_too() -> None:
    rig = Rig()
    rig.write("dynamixel_power", ["open-cr"], 1)
    rig.write("position_p_gain", ["l_el"], 300)
    rig.run(1)
    assert rig.register("position_p_gain") == 800
    assert rig.warnings == [
        "servo l_el rejects a write: moving_threshold is EEPROM, which needs torque off"
    ]


def test_without_the_bug_every_message_has_its_packet() -> None:
    rig = Rig(merge_bug=False)
    rig.write("position_p_gain", ["l_el"], 300)
    rig.write("position_d_gain", ["l_el", "l_knee"], 50, 60)
    rig.write("position_p_gain", ["l_el"], 310)
    rig.run(1)
    assert rig.register("position_p_gain") == 310
    assert [rig.register("position_d_gain", j) for j in (ELBOW, KNEE)] == [50, 60]


def test_write_control_table_has_a_packet_of_its_own() -> None:
    rig = Rig()
    rig.write("position_p_gain", ["l_knee"], 300)
    for joint in ("l_el", "l_knee"):
        rig.driver.write_control_table(joint, "position_d_gain", 6, bytes([9, 0, 0, 0, 100, 0]))
    rig.run(1)
    assert [rig.register(f"position_{g}_gain", KNEE) for g in "pid"] == [100, 0, 9]
    assert [rig.register(f"position_{g}_gain", ELBOW) for g in "pid"] == [100, 0, 9]


def test_merge_bug_an_item_after_write_control_table_merges_into_it() -> None:
    rig = Rig()
    rig.driver.write_control_table("l_el", "position_d_gain", 6, bytes([9, 0, 0, 0, 100, 0]))
    rig.write("position_p_gain", ["l_el", "l_knee"], 300, 300)
    rig.run(1)
    assert [rig.register(f"position_{g}_gain", ELBOW) for g in "pid"] == [100, 0, 9]
    # 300 in the first two of the six bytes, which are D; what follows is zero.
    assert [rig.register(f"position_{g}_gain", KNEE) for g in "pid"] == [0, 0, 300]


def test_merge_bug_an_item_goes_into_the_first_packet_of_several() -> None:
    rig = Rig()
    rig.driver.write_control_table("l_el", "position_p_gain", 2, bytes([100, 0]))
    rig.driver.write_control_table("l_el", "goal_pwm", 2, bytes([200, 0]))
    rig.write("position_d_gain", ["l_knee"], 50)
    rig.run(1)
    assert rig.register("position_p_gain", KNEE) == 50
    assert rig.register("goal_pwm", KNEE) == 885


@pytest.mark.parametrize(
    ("send", "warning"),
    [
        (lambda d: d.sync_write_item("position_p_gain", ["nose", "l_el"], [300, 300]),
         "sync_write_item: there is no device 'nose'"),
        (lambda d: d.sync_write_item("p_gain", ["l_knee"], [300]),
         "sync_write_item: l_knee has no item 'p_gain'"),
        (lambda d: d.sync_write_item("goal_pwm", ["open-cr"], [300]),
         "sync_write_item: open-cr has no item 'goal_pwm'"),
        (lambda d: d.sync_write_item("position_p_gain", ["l_el", "l_knee"], [300]),
         "sync_write_item position_p_gain has 2 devices and 1 values; it is skipped"),
        (lambda d: d.write_control_table("nose", "goal_pwm", 2, b"\x00\x00"),
         "write_control_table: there is no device 'nose'"),
        (lambda d: d.write_control_table("l_el", "pwm", 2, b"\x00\x00"),
         "write_control_table: l_el has no item 'pwm'"),
        (lambda d: d.write_control_table("l_el", "goal_pwm", 2, b"\x00"),
         "write_control_table goal_pwm says 2 bytes and has 1; it is skipped"),
        (lambda d: d.write_control_table("l_el", "goal_pwm", 0, b""),
         "write_control_table goal_pwm says 0 bytes and has 0; it is skipped"),
        (lambda d: d.sync_write_item("position_p_gain", ["l_knee"], [20000]),
         "servo l_knee rejects a write: position_p_gain is 20000; allowed is 0 to 16383"),
    ],
)  # fmt: skip
def test_malformed_writes_are_skipped(send: Callable[[Driver], None], warning: str) -> None:
    rig = Rig()
    send(rig.driver)
    rig.run(1)
    assert rig.warnings == [warning]
    assert rig.register("position_p_gain", KNEE) == 800
    assert rig.register("goal_pwm") == 885
    # Those that exist are written though others do not.
    assert rig.register("position_p_gain") == (300 if "nose" in warning and "sync" in warning
                                               else 800)  # fmt: skip


def test_read_only_items_are_skipped_in_silence_and_values_are_cut_to_the_register() -> None:
    rig = Rig()
    rig.write("present_position", ["l_el"], 1)
    rig.driver.write_control_table("l_el", "present_position", 4, bytes(4))
    rig.write("position_p_gain", ["l_el"], 0x10000 + 300)
    rig.run(1)
    assert rig.register("position_p_gain") == 300
    assert rig.warnings == []


def test_dxl_torque_restores_gains_and_torque_but_not_the_cap() -> None:
    rig = Rig(merge_bug=False)
    rig.write("position_p_gain", NAMES, *[100] * 20)
    rig.write("goal_pwm", NAMES, *[200] * 20)
    rig.write("torque_enable", NAMES, *[0] * 20)
    assert (rig.run(1).command.p_gain == 0).all()
    rig.driver.set_joint_states(["l_el"], [-0.5])
    rig.run(1)
    rig.driver.dxl_torque()
    assert (rig.run(1).command.p_gain == 800).all()
    assert (rig.last.command.goal_pwm == 200).all()
    assert rig.last.goal[ELBOW] == rig.position[ELBOW]  # goals start from where it is


# Modules


def test_a_free_robot_changes_hands_at_once() -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("action_module")
    assert rig.owner() == "action_module"
    rig.run(1)
    assert rig.maps[-1] == ("action_module",) * 20
    assert len(rig.maps) == 3  # start, free, this
    rig.run(10)
    assert len(rig.maps) == 3  # told on a change only


@pytest.mark.parametrize(
    ("module", "joints"),
    [
        ("head_control_module", set(robot.HEAD)),
        ("walking_module", {*robot.LEGS, "l_sho_pitch", "r_sho_pitch"}),
        ("online_walking_module", set(robot.LEGS)),
        ("direct_control_module", set(NAMES)), ("tuning_module", set(NAMES)),
        ("base_module", set(NAMES)), ("action_module", set(NAMES)),
    ],
)  # fmt: skip
def test_a_module_takes_the_joints_that_it_can_own(module: str, joints: set[str]) -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module(module)
    owned = {name for name, owner in rig.driver.modules_of(NAMES) if owner == module}
    assert owned == joints
    before = rig.last.goal
    np.testing.assert_array_equal(rig.run(20).goal, before)  # and holds them


def test_joints_are_given_one_by_one() -> None:
    rig = Rig()
    rig.driver.set_joint_ctrl_modules(
        ["l_el", "nose", "l_knee", "head_pan", "l_hip_yaw"],
        ["action_module", "none", "head_control_module", "head_control_module", "my_module"],
    )
    assert [rig.owner(j) for j in ("l_el", "l_knee", "head_pan", "l_hip_yaw")] == [
        "action_module", "none", "head_control_module", "none",
    ]  # fmt: skip
    rig.run(1)
    assert rig.warnings == ["there is no joint 'nose'", "there is no module 'my_module'"]


def test_unequal_lengths_change_nothing() -> None:
    rig = Rig(free=False)
    answers: list[bool] = []
    rig.driver.set_joint_ctrl_modules(["l_el", "l_knee"], ["none"], answers.append)
    assert answers == [False]
    assert rig.owner() == "base_module"
    rig.run(1)
    assert rig.warnings == ["set_joint_ctrl_modules has 2 joints and 1 modules; it is skipped"]


def test_an_unknown_module_changes_nothing() -> None:
    rig = Rig(free=False)
    rig.driver.enable_ctrl_module("fall_module")
    rig.run(1)
    assert rig.owner() == "base_module"
    assert rig.warnings == ["there is no module 'fall_module'"]


def test_taking_one_joint_disables_its_module_for_the_others() -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("action_module")
    rig.driver.set_joint_ctrl_modules(["l_el"], ["none"])
    assert (rig.owner("l_el"), rig.owner("l_knee")) == ("none", "action_module")
    rig.driver.action_page(9)
    rig.run(1)
    assert rig.statuses[-1] == "Action: Action Module is not enabled"


# Take-over times (facts of each module's stop())


def takeover(rig: Rig) -> int:
    """Cycles from the request until no module owns a joint."""

    def free() -> bool:
        return {owner for _, owner in rig.driver.modules_of(NAMES)} == {"none"}

    rig.driver.enable_ctrl_module("none")
    return 0 if free() else rig.cycles_until(free)


@pytest.mark.parametrize(
    "module", ["head_control_module", "direct_control_module", "base_module", "action_module",
               "walking_module"],
)  # fmt: skip
def test_an_idle_module_gives_way_at_once(module: str) -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module(module)
    rig.run(5)
    assert takeover(rig) <= 2


@pytest.mark.parametrize(("after", "left"), [(1, 500), (251, 250), (451, 50)])
def test_base_module_keeps_joints_until_its_motion_ends(after: int, left: int) -> None:
    rig = Rig()
    rig.driver.ini_pose()
    rig.run(after)
    assert takeover(rig) == left  # 501 cycles, 4.008 s


def test_action_module_keeps_joints_until_the_page_ends_or_is_braked() -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("action_module")
    rig.driver.action_page(9)
    rig.run(7)
    assert takeover(rig) == 180  # of 187 cycles
    rig.driver.enable_ctrl_module("action_module")
    rig.driver.action_page(9)
    rig.run(7)
    rig.driver.action_page(-1)  # stop: the page still ends
    rig.run(7)
    rig.driver.action_page(-2)  # brake
    assert takeover(rig) == 0


@pytest.mark.parametrize(("after", "left"), [(1, 37), (30, 8), (40, 36), (74, 2)])
def test_walking_module_keeps_joints_until_a_phase_ends(after: int, left: int) -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("walking_module")
    rig.run(1)
    rig.driver.walking_command("start")
    rig.run(after)
    cycles = takeover(rig)
    assert abs(cycles - left) <= 1  # phases of 0.3 s: 37 or 38 cycles
    assert rig.statuses[-2:] == ["Walking: Start walking", "Walking: Stop walking"]


def test_targets_are_ignored_until_the_switch_and_taken_from_then_on() -> None:
    rig = Rig()
    rig.driver.ini_pose()
    rig.run(401)
    rig.driver.enable_ctrl_module("none")
    for _ in range(100):
        rig.driver.set_joint_states(["l_el"], [0.3])
        assert rig.run(1).goal[ELBOW] != 0.3
    rig.driver.set_joint_states(["l_el"], [0.3])
    assert rig.run(1).goal[ELBOW] == 0.3


# The blocked callback thread


def test_a_topic_does_not_block_the_thread() -> None:
    rig = Rig()
    rig.driver.ini_pose()
    rig.run(2)
    rig.driver.enable_ctrl_module("none")
    rig.write("position_p_gain", ["l_el"], 300)
    rig.run(1)
    assert rig.register("position_p_gain") == 300


def test_a_service_blocks_writes_until_the_switch_is_complete() -> None:
    rig, answers = Rig(), list[bool]()
    rig.driver.ini_pose()
    rig.run(491)
    rig.driver.enable_ctrl_module("none", answers.append)
    rig.write("position_p_gain", ["l_el"], 300)
    rig.driver.set_joint_states(["l_el"], [0.3])
    rig.driver.action_page(9)  # a module's own thread is not blocked
    rig.run(9)
    assert rig.statuses[-1] == "Action: Action Module is not enabled"
    assert answers == [] and rig.owner() == "base_module"
    rig.run(1)
    assert answers == [True] and rig.owner() == "none"
    assert rig.register("position_p_gain") == 800
    rig.run(1)
    assert rig.register("position_p_gain") == 300
    assert rig.last.goal[ELBOW] == 0.3


def test_a_second_request_blocks_the_thread_until_the_first_is_complete() -> None:
    rig = Rig()
    rig.driver.ini_pose()
    rig.run(491)
    rig.driver.enable_ctrl_module("none")
    rig.driver.enable_ctrl_module("action_module")
    rig.write("position_p_gain", ["l_el"], 300)
    rig.run(9)
    assert rig.owner() == "base_module"
    rig.run(1)
    assert rig.owner() == "action_module"
    assert [m[0] for m in rig.maps[-2:]] == ["none", "action_module"]
    rig.run(1)
    assert rig.register("position_p_gain") == 300


def test_what_waits_is_as_much_as_the_queue_holds() -> None:
    rig = Rig()
    rig.driver.ini_pose()
    rig.run(491)
    rig.driver.enable_ctrl_module("none", lambda _: None)
    for k in range(12):
        rig.driver.set_joint_states([NAMES[k]], [0.5])
    rig.run(11)
    assert [k for k in range(20) if rig.last.goal[k] == 0.5] == list(range(2, 12))
    assert rig.warnings == ["set_joint_states: 10 messages wait; the oldest is dropped"] * 2


def test_abort_answers_everyone_who_waits() -> None:
    rig, answers = Rig(), list[bool]()
    rig.driver.ini_pose()
    rig.run(5)
    rig.driver.enable_ctrl_module("none", answers.append)
    rig.driver.set_joint_ctrl_modules(["l_el"], ["none"], answers.append)
    rig.driver.abort()
    assert answers == [False, False]


# Motions


def test_ini_pose_is_4_s_of_minimum_jerk_to_the_crouch() -> None:
    rig = Rig()
    start = rig.last.goal
    rig.driver.ini_pose()
    goals = np.array([rig.run(1).goal for _ in range(502)])
    assert rig.owner() == "base_module"
    np.testing.assert_allclose(goals[-1], robot.POSES["ini_pose"], atol=1e-12)
    np.testing.assert_allclose(goals[250], (start + robot.POSES["ini_pose"]) / 2, atol=1e-9)
    np.testing.assert_allclose(goals[1] - goals[0], 0, atol=1e-4)  # starts from rest
    assert rig.statuses[-2:] == ["Base: Start Init Pose", "Base: Finish Init Pose"]
    # A tenth of the time is 0.856 % of the way, by the polynomial 10 s^3 - 15 s^4 + 6 s^5.
    np.testing.assert_allclose(goals[50] - start, 0.00856 * (goals[-1] - start), atol=1e-9)


def test_a_second_ini_pose_is_refused_while_the_first_moves() -> None:
    rig = Rig()
    rig.driver.ini_pose()
    rig.run(100)
    rig.driver.ini_pose()
    rig.run(1)
    assert rig.warnings == ["ini_pose: previous task is alive"]
    assert takeover(rig) == 400


def test_booting_goes_to_ini_pose_after_a_tenth_of_a_second() -> None:
    rig = Rig(free=False, boot=True)
    assert rig.owner() == "none"
    assert rig.cycles_until(lambda: rig.owner() == "base_module") == 12
    rig.run(501)
    assert rig.statuses == [
        "SENSOR: Present Volt : 12V", "Base: Start Init Pose", "Base: Finish Init Pose",
    ]  # fmt: skip


@pytest.mark.parametrize(("page", "seconds"), [(1, 1.44), (9, 1.496), (122, 3.04), (123, 3.6)])
def test_a_page_plays_for_its_time_and_ends_in_its_last_step(page: int, seconds: float) -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("action_module")
    rig.driver.action_page(page)
    cycles = rig.cycles_until(lambda: bool(rig.done))
    assert cycles * 0.008 == pytest.approx(seconds)
    np.testing.assert_allclose(rig.last.goal, PAGES[page][-1].goal)
    assert rig.done == ["action"]
    assert rig.statuses[-3:] == [
        f"Action: Succeed to start page {page}", "Action: Action_Start", "Action: Action_Finish",
    ]  # fmt: skip


def test_pages_are_those_of_the_action_file() -> None:
    knee, hip = robot.JOINT_INDEX["r_knee"], robot.JOINT_INDEX["r_hip_pitch"]
    assert PAGES[122][2].goal[knee] == pytest.approx(-2.45897, abs=1e-5)
    assert PAGES[123][0].goal[hip] == pytest.approx(-0.45099, abs=1e-5)
    np.testing.assert_allclose(PAGES[9][0].goal, robot.POSES["walkready"], atol=0.05)
    for steps in PAGES.values():
        for step in steps:
            assert step.goal.shape == (20,)
            assert (np.abs(step.goal) < 2.8).all()


def test_a_pause_holds_the_step() -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("action_module")
    rig.driver.action_page(122)
    rig.run(40 + 50 + 80)
    held = rig.last.goal
    np.testing.assert_allclose(held, PAGES[122][2].goal)
    np.testing.assert_array_equal(rig.run(80).goal, held)
    assert (rig.run(20).goal != held).any()


@pytest.mark.parametrize(
    ("page", "reasons"),
    [
        (2, ["Page 2 has no action", "Failed to start page 2"]),
        (0, ["Can not play page.(0 is invalid index)", "Failed to start page 0"]),
        (256, ["Can not play page.(256 is invalid index)", "Failed to start page 256"]),
    ],
)
def test_a_page_that_is_not_there_fails(page: int, reasons: list[str]) -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("action_module")
    rig.driver.action_page(page)
    rig.run(1)
    assert rig.statuses[-2:] == [f"Action: {r}" for r in reasons]
    assert rig.last.events.statuses[-1].level == Level.ERROR
    assert rig.done == ["action_failed"]


def test_a_page_is_refused_while_another_plays_and_a_brake_ends_it() -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("action_module")
    rig.driver.action_page(9)
    rig.run(5)
    rig.driver.action_page(1)
    rig.run(1)
    assert rig.statuses[-2:] == [
        "Action: Can not play page 1.(Now playing)", "Action: Failed to start page 1",
    ]  # fmt: skip
    rig.driver.action_page(-2)
    goal = rig.last.goal
    np.testing.assert_array_equal(rig.run(5).goal, goal)
    assert rig.done == ["action_failed", "action"]


def test_walking_writes_p_gains_of_its_own_and_puts_800_back() -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("walking_module")
    rig.driver.walking_command("start")
    seen = [rig.run(1).command.p_gain for _ in range(80)]

    def at(time_s: float) -> dict[str, int]:
        gains = seen[round(time_s / 0.008) + 1]  # asked for in one cycle, written in the next
        return {j: int(gains[robot.JOINT_INDEX[j]]) for j in NAMES}

    both, left, right = at(0.0), at(0.15), at(0.45)
    assert [both[f"{s}_{j}"] for s in "lr" for j in
            ("hip_pitch", "hip_roll", "knee", "ank_pitch", "ank_roll", "hip_yaw")] == [
        1600, 1600, 4000, 800, 1600, 800] * 2  # fmt: skip
    assert [left[j] for j in ("l_hip_pitch", "r_hip_pitch", "l_ank_pitch", "r_ank_pitch")] == [
        4000, 1600, 1600, 800]  # fmt: skip
    assert [right[j] for j in ("l_hip_roll", "r_hip_roll", "l_ank_pitch", "r_ank_pitch")] == [
        1600, 4000, 1600, 1600]  # fmt: skip
    assert both["l_el"] == left["l_sho_pitch"] == 800
    rig.driver.walking_command("stop")
    assert (rig.run(80).command.p_gain == 800).all()


def test_a_module_that_thinks_its_gain_is_written_does_not_write_it_again() -> None:
    rig = Rig()
    rig.driver.enable_ctrl_module("walking_module")
    rig.write("position_p_gain", NAMES, *[100] * 20)
    assert (rig.run(20).command.p_gain == 100).all()  # it wants 800 and believes to have it


def test_walking_is_refused_while_disabled() -> None:
    rig = Rig()
    rig.driver.walking_command("start")
    rig.run(1)
    assert rig.warnings == ["walking module is not ready."]


# The rest


def test_offsets_are_added_to_goals_and_taken_off_angles() -> None:
    rig = Rig()
    rig.driver.set_offsets({"l_el": 0.1, "nose": 1.0})
    rig.driver.set_joint_states(["l_el"], [-0.5])
    assert rig.run(1).command.position[ELBOW] == pytest.approx(-0.4, abs=2 * COUNT)
    assert rig.last.goal[ELBOW] == -0.5
    assert rig.last.position_offset[ELBOW] == pytest.approx(0.1)


def test_the_offset_ramps_over_0_8_s() -> None:
    rig = Rig(free=False)
    rig.driver.set_offsets({"l_el": 0.1})
    for on, shares in ((False, (0.99, 0.5, 0.0)), (True, (0.01, 0.5, 1.0))):
        rig.driver.enable_offset(on)
        found = [rig.run(n).position_offset[ELBOW] / 0.1 for n in (1, 49, 60)]
        assert found == pytest.approx(shares)
    # base_module sets its joints anew in every cycle, so that the ramp reaches the servo.
    expected = rig.last.goal[ELBOW] + 0.1
    assert from_register(rig.register("goal_position")) == pytest.approx(expected, abs=2 * COUNT)


@pytest.mark.parametrize("name", BUTTONS)
def test_a_button_is_told(name: str) -> None:
    rig = Rig(free=False)
    rig.driver.press_button(name)
    assert rig.run(1).events.buttons == [name]
    assert rig.statuses[-1] == f"SENSOR: Button : {name}"
    assert rig.owner() == ("none" if name == "user_long" else "base_module")


def test_a_long_press_of_user_brings_torque_back_and_goes_to_ini_pose() -> None:
    rig = Rig(free=False)
    rig.write("torque_enable", NAMES, *[0] * 20)
    rig.run(1)
    rig.driver.press_button("user_long")
    assert (rig.run(1).command.p_gain == 800).all()
    assert 23 <= rig.cycles_until(lambda: rig.owner() == "base_module") <= 25
    rig.run(501)
    np.testing.assert_allclose(rig.last.goal, robot.POSES["ini_pose"], atol=1e-12)


def test_an_unknown_button_is_refused() -> None:
    with pytest.raises(BadInputError, match="button 'stop' is unknown; allowed are mode, mode_lo"):
        Rig().driver.press_button("stop")


def test_the_voltage_is_told_once() -> None:
    driver = Driver(STAND, servo=robot.Servo(11.1))
    first = driver.cycle(STAND).events.statuses
    assert [(s.level, s.module, s.text) for s in first] == [
        (Level.INFO, "SENSOR", "Present Volt : 11.1V")
    ]
    assert driver.cycle(STAND).events.statuses == []
