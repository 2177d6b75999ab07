# SPDX-License-Identifier: Apache-2.0
"""Training policies on the environments."""
