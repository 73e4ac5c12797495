"""The story of a study: its stages, what each may read and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mrinterp.study._steps import Steps

__all__ = ["STAGES", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Parameters
    ----------
    name, says : str
        What it is called, and what happens in it.
    reads, writes : tuple of str
        What it may read, and the parts of the run folder that it writes. Every stage may read the plan.
    outcomes_of : tuple of str
        Splits whose outcomes it reads from the network. No split stands in two stages before the estimates.
    carry_out : callable
        Does it; what is finished is reopened.

    Examples
    --------
    >>> from mrinterp.study import STAGES
    >>> [stage.name for stage in STAGES][:6]
    ['rules', 'discovery', 'candidates', 'knockouts', 'freeze', 'kinds']
    """

    name: str
    says: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    outcomes_of: tuple[str, ...]
    carry_out: Callable[[Steps], object]


STAGES = (
    Stage(
        "rules",
        "Prompts, families, splits and perturbations are drawn; plan, network and design are hashed.",
        reads=("network",),
        writes=("design",),
        outcomes_of=(),
        carry_out=lambda steps: steps._fix_rules(),
    ),
    Stage(
        "discovery",
        "Tokens and scale of the noise are chosen where the plan leaves them open; features, their low and high values, bypass"
        " bases and rank are learned on the discovery families (in a study of fewer than 160 families the values on all that"
        " claims stand for, from clean activations alone); a pilot on five of them says how many are knocked out, and edits of all sizes on eight"
        " from which features a path leads to the outcome at all.",
        reads=("network", "design"),
        writes=("position.json", "sae", "noise.json", "basis", "contrast_levels", "pilot.json", "paths"),
        outcomes_of=("discovery",),
        carry_out=lambda steps: (
            steps._choose_position(),
            steps._choose_noise(),
            steps._learn_basis(),
            steps._learn_levels(),
            steps._pilot(),
            steps._follow_paths(),
        ),
    ),
    Stage(
        "candidates",
        "Candidates, dictionary, levels, rank and pilot are hashed, before an outcome of any other family is read.",
        reads=("basis", "contrast_levels", "pilot.json"),
        writes=(),
        outcomes_of=(),
        carry_out=lambda steps: steps.folder.fix_candidates(),
    ),
    Stage(
        "knockouts",
        "The plan's knockouts are run blind, on families of their own and on replication families, no estimate in sight.",
        reads=("network", "design", "basis", "contrast_levels", "pilot.json"),
        writes=("knockouts", "site_experiment", "whole_resample", "whole_mean"),
        outcomes_of=("knockout", "replication"),
        carry_out=lambda steps: steps._plan_and_run_knockouts(),
    ),
    Stage(
        "freeze",
        "The digests of the knockouts are fixed; from here on estimates may exist.",
        reads=("knockouts",),
        writes=(),
        outcomes_of=(),
        carry_out=lambda steps: steps.folder.freeze_knockouts(),
    ),
    Stage(
        "kinds",
        "Kinds of knockout are compared, and tested against the region of practical equivalence.",
        reads=("basis", "knockouts"),
        writes=("kinds", "equivalence.parquet"),
        outcomes_of=(),
        carry_out=lambda steps: (steps._compare_kinds(), steps._test_equivalence()),
    ),
    Stage(
        "scan",
        "The estimation families are run; marginal effects per kind of perturbation.",
        reads=("network", "design", "basis"),
        writes=("panel/estimation", "sumstats"),
        outcomes_of=("estimation",),
        carry_out=lambda steps: (steps._scan("estimation"), steps._marginal_effects()),
    ),
    Stage(
        "checks",
        "Did the perturbations reach the site, can the runs tell the features apart, is the equation of MR right, and whose effect"
        " does each feature show?",
        reads=("network", "basis", "paths", "knockouts", "panel", "sumstats"),
        writes=("checks.json", "borrowed"),
        outcomes_of=(),
        carry_out=lambda steps: (steps._check(), steps._take_apart()),
    ),
    Stage(
        "replication scan",
        "The replication families are run: other prompts, all kinds of perturbation.",
        reads=("network", "design", "basis"),
        writes=("panel/replication",),
        outcomes_of=("replication",),
        carry_out=lambda steps: steps._scan("replication"),
    ),
    Stage(
        "estimates",
        "Every rung of the ladder, the gradient and the replication among them; the path of MR over the noise's scale.",
        reads=(
            "network",
            "design",
            "basis",
            "contrast_levels",
            "knockouts",
            "panel",
            "sumstats",
            "checks.json",
        ),
        writes=("estimates", "scale_path.parquet"),
        outcomes_of=("estimation",),
        carry_out=lambda steps: (steps._estimate(), steps._follow_scale()),
    ),
    Stage(
        "agreement",
        "Estimates and knockouts are joined: how well did each method predict them?",
        reads=("basis", "knockouts", "estimates"),
        writes=("agreement",),
        outcomes_of=(),
        carry_out=lambda steps: steps._hold_against_knockouts(),
    ),
    Stage(
        "results",
        "The answer, feature by feature: what it rests on, what other families say, every rung on one scale.",
        reads=("basis", "panel", "checks.json", "knockouts", "estimates", "agreement"),
        writes=("rank_path.parquet", "results.json", "results.parquet", "rungs.parquet"),
        outcomes_of=(),
        carry_out=lambda steps: (steps._follow_ranks(), steps._answer(), steps._compare_rungs()),
    ),
    Stage(
        "grades",
        "Every claim is graded by the rules that are the default: points, reasons, what is missing, its identification card.",
        reads=(
            "basis",
            "panel",
            "sumstats",
            "checks.json",
            "knockouts",
            "estimates",
            "agreement",
            "rank_path.parquet",
            "results.parquet",
        ),
        writes=("grades",),
        outcomes_of=(),
        carry_out=lambda steps: steps._grade(),
    ),
    Stage(
        "profiles",
        "What the features are, for their cards: the discovery inputs that move each most, and what it responds to.",
        reads=("network", "design", "basis"),
        writes=("feature_profiles",),
        outcomes_of=(),
        carry_out=lambda steps: steps._profile(),
    ),
    Stage(
        "figures",
        "The figures, as files.",
        reads=("everything above",),
        writes=("figures",),
        outcomes_of=(),
        carry_out=lambda steps: steps._draw(),
    ),
    Stage(
        "report",
        "The page, and beside it the same for machines and for writing up.",
        reads=("everything above",),
        writes=("report.html", "report_cards", "report"),
        outcomes_of=(),
        carry_out=lambda steps: steps._write_page(),
    ),
)
"""The story of a study, in the only order in which it can be carried out."""
