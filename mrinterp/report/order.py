"""What the record of a run lets a page say about the order of its steps."""

from __future__ import annotations

from mrinterp.core.history import Order, order_of
from mrinterp.report.finished import FinishedStudy

__all__ = ["blind", "caution", "order_in_words", "recorded_order"]


def recorded_order(study: FinishedStudy) -> Order:
    """What the header of the run folder proves."""
    return order_of(study.header)


def blind(study: FinishedStudy) -> str:
    """``"blind "`` where the record proves it, else nothing: to stand before *knockouts*."""
    return "blind " if recorded_order(study).blind else ""


def order_in_words(study: FinishedStudy) -> str:
    """When the knockouts were run, in a sentence or two."""
    found = recorded_order(study)
    if found.blind:
        return (
            "The knockouts were run on families of their own before any estimate existed, and their digest was"
            " frozen before the two were joined."
        )
    return (
        f"The knockouts are not shown to be blind: {'; '.join(found.doubts)}. They count as selected: they may judge"
        " an estimate, and no interval may rest on them."
    )


def caution(study: FinishedStudy) -> list[str]:
    """What a reader must know first, where the knockouts are not shown to be blind."""
    return [] if recorded_order(study).blind else [order_in_words(study)]
