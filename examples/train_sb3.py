# SPDX-License-Identifier: Apache-2.0
"""Train a policy with Stable-Baselines3 (pip install stable-baselines3) and save it.

A single environment is easy to work with but slow; training on many robots at once is what
`gymnasium.make_vec` and `op3_fall.training` are for.
"""

import warnings
from pathlib import Path

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from op3_fall.envs import CurriculumManager
from op3_fall.resources import resource

ID = "envs/Op3FallControl-v0"
CURRICULUM = "config/curriculum/arms.yaml"
STEPS = 200_000  # a fall takes 100 to 250; 2,000 only show that it runs
ENVIRONMENTS, STEPS_PER_UPDATE = 4, 512
FALLS = 64  # on which policies are compared, from the last phase of the curriculum
MODEL = Path("runs/sb3_arms.zip")


def main() -> None:
    """Train, compare the policy with the untrained one, save it."""
    # Gymnasium takes the version of an id for a release; here it says which task.
    warnings.filterwarnings("ignore", message=".*out of date")
    curriculum = CurriculumManager.from_yaml(resource(CURRICULUM))
    envs = make_vec_env(ID, ENVIRONMENTS, seed=0, env_kwargs={"curriculum": curriculum})
    model = PPO("MlpPolicy", envs, n_steps=STEPS_PER_UPDATE, batch_size=256, seed=0, device="cpu")
    before = evaluate(model)
    model.learn(STEPS)
    after = evaluate(model)
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    model.save(MODEL)
    print(f"             mean return   head contact   ({FALLS} falls)")
    for name, (mean_return, contact) in (("before", before), ("after", after)):
        print(f"{name:12} {mean_return:11.2f} {contact:14.0%}")
    print(f"training reached phase {curriculum.phase_id} of the curriculum; saved {MODEL}")


def evaluate(model: PPO) -> tuple[float, float]:
    """Mean return, and share in which the head hits the floor; the same falls for every model."""
    curriculum = CurriculumManager.from_yaml(resource(CURRICULUM))
    curriculum.set_phase(len(curriculum.phases) - 1)
    many = gymnasium.make_vec(ID, num_envs=FALLS, curriculum=curriculum)
    observations, _ = many.reset(seed=1_000_000)
    running, contact = np.ones(FALLS, dtype=bool), np.zeros(FALLS, dtype=bool)
    returns = np.zeros(FALLS)
    while running.any():
        actions, _ = model.predict(observations, deterministic=True)
        observations, rewards, terminated, truncated, info = many.step(actions)
        returns += rewards * running
        ended = running & (terminated | truncated)
        if ended.any():
            contact[ended] = info["final_info"]["head_contact"][ended]
        running &= ~ended
    many.close()
    return float(returns.mean()), float(contact.mean())


if __name__ == "__main__":
    main()
