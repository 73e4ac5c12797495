"""A study's plan with its network opened: loaded from where the plan says, or given from memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.named_code import check_agreed, named_code
from mrinterp.core.plan import Plan
from mrinterp.core.run_folder import RunFolder
from mrinterp.scan._cluster import Workers

if TYPE_CHECKING:
    from mrinterp.models._cut import CutNetwork
    from mrinterp.models._given import GivenObjects
    from mrinterp.models._plan_network import StudyNetwork

__all__ = ["Opened"]

T = TypeVar("T")


class Opened(ABC):
    """The network, the design and the folder of a study.

    Parameters
    ----------
    plan : Plan
    source : Path
        Folder that the plan's relative paths start from.
    out : Path
        Run folder.
    allow_code : bool
        Whether Python that the plan names is imported without asking.
    given : GivenObjects, optional
        Network, tokenizer and outcomes that were given from memory.
    """

    def __init__(
        self, plan: Plan, source: Path, out: Path, allow_code: bool, given: GivenObjects | None = None
    ) -> None:
        self.plan, self.source, self.out = plan, Path(source), Path(out)
        self.allow_code, self.given = allow_code, given
        self.folder = RunFolder(self.out)
        self.workers = Workers()
        self._memory: dict[str, Any] = {}

    def _remembered(self, name: str, make: Callable[[], T]) -> T:
        """What was made or opened once, while this object lives."""
        if name not in self._memory:
            self._memory[name] = make()
        found: T = self._memory[name]
        return found

    def _kept(self, name: str, load: Callable[[Path], T], make: Callable[[], T]) -> T:
        """A part of the run folder, made where it is missing, and opened once while this object lives."""
        return self._remembered(name, lambda: self.folder.kept(name, load, make))

    @cached_property
    def _opened(self) -> StudyNetwork:
        from mrinterp.models._plan_network import open_study_network

        if not self.allow_code:
            check_agreed(named_code(self.plan, self.source), self.source, self.plan.title)
        opened = open_study_network(self.plan, self.source, self.given)
        self._refuse_another(opened)
        return opened

    def _refuse_another(self, opened: StudyNetwork) -> None:
        """Refuse a network that was given from memory where the folder holds a run of another one."""
        if self.plan.model.given is None or not (self.out / "study.json").is_file():
            return
        begun, now = self.folder.header["provenance"]["model"], opened.hash
        if begun and begun != now:
            raise InputError(
                str(self.out),
                f"its network, features or outcomes are not those it was begun with (hash {begun[:12]} there, {now[:12]} here)",
                "Give those that it was begun with, or run into another folder",
            )

    @property
    def _network(self) -> CutNetwork:
        """The network on the design's inputs, with the autoencoder whose latents are the features (which is
        trained on discovery and kept, where the plan says so)."""
        from mrinterp.scan._study_sae import open_sae

        def put_on_the_design() -> CutNetwork:
            design, placed = self._stored_design(), self._placed_network
            return replace(placed, sae=open_sae(placed, design, self.plan, self.source, self.folder))

        return self._remembered("network", put_on_the_design)

    @property
    def _bare_network(self) -> CutNetwork:
        """The network on the design's inputs, as it stands."""
        return self._remembered("bare network", lambda: self._opened.network(self._drawn_design()))

    @property
    def _placed_network(self) -> CutNetwork:
        """The network on the design's inputs, read and written at the plan's tokens, or those chosen on discovery."""
        chosen = self._choose_position()
        return self._bare_network if chosen is None else self._bare_network.placed(chosen["position"])

    def _drawn_design(self) -> Design:
        """The design as it is stored, or drawn in memory where it is not stored yet."""
        from mrinterp.instruments.design import make_design

        if (self.out / "design").exists():
            return self._stored_design()
        return self._remembered(
            "drawn design",
            lambda: make_design(
                self.plan, self.source, lambda: self._opened.embedding_width, lambda: self._opened
            ),
        )

    def prompts_in_words(self) -> list[str]:
        """What was read of the prompts, as what, and what so many families allow; what outcomes take for right and wrong
        answers; words that the tokenizer does not know. Nothing is written.

        Returns
        -------
        list of str
            Sentences.
        """
        from mrinterp.instruments.prompt_table import prompts_in_words
        from mrinterp.models._plan_outcomes import answers_in_words
        from mrinterp.study._before import unknown_in_words

        design = self._drawn_design()
        said = prompts_in_words(design, self.plan.estimation.rests_on != "mr")
        if self.plan.model.given is not None and self.given is None:
            return said  # the network, which knows the rest, is not at hand
        network = self._opened.adapted
        answers = [answers_in_words(section, network, design.inputs) for section in self.plan.outcome]
        said += [f"{text}." for text in answers if text]
        unknown = unknown_in_words(design, self._bare_network, self._opened)
        return [*said, unknown] if unknown else said

    @abstractmethod
    def _stored_design(self) -> Design:
        """The design as it is kept in the run folder."""

    @abstractmethod
    def _choose_position(self) -> dict[str, Any] | None:
        """The tokens where features are read, and why; None where the plan states them."""
