# SPDX-License-Identifier: Apache-2.0
"""What a policy is worth: the same falls under it and under what people do today."""
