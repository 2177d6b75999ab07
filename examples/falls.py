# SPDX-License-Identifier: Apache-2.0
"""Let the robot fall once, its arms moving at random, and print what the fall cost."""

import warnings

import gymnasium

import op3_fall.envs  # noqa: F401  registers the environments

# Gymnasium takes the version of an id for a release; here it says which task.
warnings.filterwarnings("ignore", message=".*out of date")

env = gymnasium.make("envs/Op3FallControl-v0")
env.action_space.seed(0)
observation, info = env.reset(seed=0)
over = False
while not over:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    over = terminated or truncated
env.close()

for name, value in info["metrics"].items():
    print(f"{name:26} {value:8.2f}")
