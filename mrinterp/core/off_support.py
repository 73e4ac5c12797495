"""The flag that goes with values written outside what a feature shows."""

from __future__ import annotations

from typing import Any

__all__ = ["off_support_words"]


def off_support_words(meta: dict[str, Any]) -> str:
    """A line that names the features of ``meta["outside_support"]``; empty where there are none."""
    shares = meta.get("outside_support") or {}
    if not shares:
        return ""
    worst = sorted(shares, key=lambda name: (-shares[name], name))
    listed = ", ".join(f"{name} ({shares[name]:.0%} of what was written)" for name in worst[:4])
    more = f" and {len(worst) - 4} more" if len(worst) > 4 else ""
    return f"\nOutside natural support: {listed}{more}."
