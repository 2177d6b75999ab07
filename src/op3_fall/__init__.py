# SPDX-License-Identifier: Apache-2.0
"""Let a ROBOTIS OP3 fall without breaking: simulation, detection, compliance, experiments."""
