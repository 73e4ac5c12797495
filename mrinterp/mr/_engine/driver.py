"""The one driver: summary statistics or runs and names of methods in, estimates with a status per cell out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_level, shown
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.ld import lowest_eigenvalue
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.core.shown import A_WHILE, progress
from mrinterp.mr._engine.default_method import default_method
from mrinterp.mr._engine.dependent_sets import with_sets
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.ld_guard import LDGuard
from mrinterp.mr._engine.option_check import check_options
from mrinterp.mr._engine.registry import Estimator, find, registered
from mrinterp.mr._engine.result_table import GIVEN, NO_CORRELATION, ResultTable, Rows
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.dependence import dependent_sets

__all__ = ["BLOCK_CELLS", "estimate", "run_mr"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCK_CELLS = 1 << 19
"""Most (feature, outcome, instrument) cells that an expanding kernel gets at once."""

FEW = 3
"""Known effects on an outcome, all exactly 0, from which it is said not to vary."""

DEAD = (
    "left out: it does not change in these runs (a dead or constant feature), so that no instrument moves it"
)
NOT_MOVED = "left out: no instrument has an effect on the exposure"
UNKNOWN = "left out: no effect of an instrument on the exposure is known"
FLAT_OUTCOME = "not applicable: every effect on the outcome is exactly 0, as where it does not vary"
NO_OUTCOME = "not applicable: the outcome does not vary, or no effect of an instrument on it is known"


def run_mr(
    data: MRData | Panel,
    methods: Sequence[str] | str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    level: float = 0.95,
) -> list[Estimates]:
    """Estimate the effect of every exposure on every outcome by each method.

    Parameters
    ----------
    data : MRData or Panel
        Summary statistics of F exposures and O outcomes on J instruments (nan where an instrument is
        missing for a trait); or the runs themselves, for the estimators of runs (`within`, `tsls`, ...).
    methods : sequence of str, optional
        Names in the registry (`methods` lists them). By default the estimator that the design asks for:
        `within` for runs, for summary statistics as `standard_methods` has it first.
    options : mapping, optional
        Options by method: ``{"egger": {"distribution": "normal"}}``.
    level : float
        Confidence level of the intervals.

    Returns
    -------
    list of Estimates
        One per method, in order. A cell that cannot be estimated is nan with a status that says
        why; the others are computed.

    Raises
    ------
    InputError
        For an unknown method or option; a method of runs asked of summary statistics, or the other way
        round; data of another type.

    Notes
    -----
    What makes an estimate *not valid* depends on the method: ``estimates.assumes`` says it in words, and a
    printed estimate ends with it.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> [e.method for e in mrinterp.run_mr(panel, ["within", "tsls"])]
    ['within', 'tsls']
    """
    if not isinstance(data, MRData | Panel):
        raise InputError(
            "data",
            f"a {type(data).__name__}",
            "Give summary statistics (mrinterp.tables reads tables of them) or runs (mrinterp.from_arrays)",
        )
    names = None if methods is None else _listed(methods)
    chosen = _by_method(options or {})
    if names is None:
        name, settings = ("within", {}) if isinstance(data, Panel) else default_method(data)
        names, chosen[name] = [name], {**settings, **chosen.get(name, {})}
    unknown = [m for m in chosen if m not in names]
    if unknown:
        raise InputError(
            f"options of {unknown[0]!r}",
            "the method is not among those asked for",
            near_misses(unknown[0], names) or f"Asked for: {', '.join(names)}",
        )
    return [estimate(data, m, level=level, **chosen.get(m, {})) for m in names]


def _listed(methods: Any) -> list[str]:
    """Names of methods as a list; one name alone serves as a list of one."""
    if isinstance(methods, str):
        return [methods]
    if not np.iterable(methods) or not all(isinstance(m, str) for m in methods):
        raise InputError(
            "methods", shown(methods), "Give names of methods (mrinterp.mr.methods() lists them)"
        )
    return list(methods)


def _by_method(options: Any) -> dict[str, dict[str, Any]]:
    """Options by method, copied."""
    if not isinstance(options, Mapping) or not all(isinstance(o, Mapping) for o in options.values()):
        raise InputError(
            "options", shown(options), 'Give them by method: {"egger": {"distribution": "normal"}}'
        )
    return {name: dict(given) for name, given in options.items()}


def estimate(data: MRData | Panel, method: str, *, level: float = 0.95, **options: Any) -> Estimates:
    """The same for one method, its options as keywords.

    Raises
    ------
    InputError
        For an unknown method or option, or a method of the other kind of data.
    """
    level = checked_level(level)
    how = find(method)
    check_options(how, options, GIVEN)
    if isinstance(data, Panel):
        return _of_runs(data, how, level, options)
    if how.kind == "run":
        raise InputError(
            f"method {method!r}",
            "works on runs, and these are summary statistics",
            "Give it a Panel of runs, or choose a method of summary statistics",
        )
    result, guard = ResultTable(data, how), LDGuard(data)
    if how.kind == "multivariable":
        data = data.with_zeros_known()
    blocks = (
        _univariable(data, how, result) if how.kind == "univariable" else _multivariable(data, how, result)
    )
    ld_problem = _ld_problem(data, how)
    for rows, cols, used in _shown(blocks, data, how):
        if ld_problem:
            result.fail(rows, cols, ld_problem)
            continue
        keywords = {**options, **_given(data, how, rows, cols, used, level)}
        impossible = _impossible(keywords)
        with np.errstate(all="ignore"):
            fit = how.kernel(_effects(data, rows, cols, used), **keywords)
        result.put(rows, cols, used, fit)
        if impossible is not None and fit.meta.get("uses_error_correlation", True):
            result.forbid(rows, cols, impossible, NO_CORRELATION)
        if data.ld is not None and "ld" in how.options:
            _withhold(result, rows, cols, *guard.reasons(used), jointly=how.kind == "multivariable")
    return with_sets(result.estimates(options, level), result.sets)


def _shown(
    blocks: Iterator[tuple[Rows, Rows, Mask | None]], data: MRData, how: Estimator
) -> Iterator[tuple[Rows, Rows, Mask | None]]:
    """The blocks, with a bar where there are many: not for one alone, whose kernel has a bar if it is long."""
    F, O, J = data.shape
    if how.kind != "univariable" or F * O * J <= BLOCK_CELLS:
        yield from blocks
        return
    with progress(F * O, how.name, "effect", A_WHILE) as bar:
        for rows, cols, used in blocks:
            yield rows, cols, used
            bar.update(len(np.arange(F)[rows]) * len(np.arange(O)[cols]))


def _withhold(result: ResultTable, rows: Rows, cols: Rows, of_x: Any, of_y: Any, *, jointly: bool) -> None:
    """Take back the cells of traits whose effects contradict the correlation between the instruments."""
    x, y = of_x[rows], of_y[cols]
    if jointly and (x != "").any():
        x = np.full(len(x), next(why for why in x if why), dtype=object)
    where = (x != "")[:, None] | (y != "")[None, :]
    where &= result.numbers(rows, cols)  # what has no number keeps its own reason
    if where.any():
        why = np.where((x != "")[:, None], x[:, None], y[None, :])
        result.forbid(rows, cols, where, why)


def _of_runs(panel: Panel, how: Estimator, level: float, options: dict[str, Any]) -> Estimates:
    """An estimator of runs on a panel, its intervals at the level asked for."""
    if how.kind != "run":
        raise InputError(
            f"method {how.name!r}",
            "works on summary statistics, and these are runs",
            "Give it mrinterp.scan.marginal_scan(panel).to_mrdata(), or choose a method of runs: "
            + ", ".join(registered("run")),
        )
    found: Estimates = how.kernel(panel, **options)
    if level == found.level:
        return found
    return replace(found, level=level, ci_lower=None, ci_upper=None)


def _effects(data: MRData, rows: Rows, cols: Rows, used: Mask | None) -> Effects:
    parts = (data.beta_x[rows], data.se_x[rows], data.beta_y[cols], data.se_y[cols])
    asked = len(data.exposures) * len(data.outcomes)
    bx, sx, by, sy = parts if used is None else (p[:, used] for p in parts)
    return Effects(bx, sx, by, sy, asked)


def _patterns(usable: Mask) -> list[tuple[NDArray[np.int_], Mask]]:
    """Rows that share a pattern of usable instruments, with the pattern."""
    if not len(usable):
        return []
    if usable.all():
        return [(np.arange(len(usable)), usable[0])]
    packed = np.ascontiguousarray(np.packbits(usable, axis=1))
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    inverse = np.ravel(inverse)
    order = np.argsort(inverse, kind="stable")
    groups = np.split(order, np.searchsorted(inverse[order], np.arange(1, len(first))))
    return [(rows, usable[rows[0]]) for rows in groups]


def _consecutive(rows: NDArray[np.int_]) -> Rows:
    """A slice where rows follow one another (so that arrays are views, not copies)."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _univariable(
    data: MRData, how: Estimator, result: ResultTable
) -> Iterator[tuple[Rows, Rows, Mask | None]]:
    """Blocks of cells that share their instruments and have enough of them."""
    x, y, moves = _measured(data)
    still = np.asarray(~moves.any(axis=1))
    if still.any():
        result.leave_out(np.flatnonzero(still), slice(None), _not_moved(data, still))
    # what is known not to move an exposure is no instrument for it
    x = moves if how.divides else x if data.unmoved is None else x & ~data.unmoved
    y_patterns = _outcome_patterns(data, y, result)
    for local, xused in _patterns(x[~still]) if not still.all() else ():
        xrows = np.flatnonzero(~still)[local]
        for yrows, yused in y_patterns:
            used = xused & yused
            n = int(used.sum())
            cells = np.ix_(xrows, yrows)
            result.n_instruments[cells] = n
            if n < how.min_instruments:
                result.fail(xrows, yrows, _too_few(how.min_instruments, n))
                continue
            size_o = max(1, min(len(yrows), BLOCK_CELLS // n)) if how.blocked else len(yrows)
            size_f = max(1, BLOCK_CELLS // (n * size_o)) if how.blocked else len(xrows)
            for f in range(0, len(xrows), size_f):
                for o in range(0, len(yrows), size_o):
                    rows, cols = _consecutive(xrows[f : f + size_f]), _consecutive(yrows[o : o + size_o])
                    yield rows, cols, None if used.all() else used


def _measured(data: MRData) -> tuple[Mask, Mask, Mask]:
    """Where effects on exposures and on outcomes are known, and where they are other than 0."""
    x = np.isfinite(data.beta_x) & np.isfinite(data.se_x)
    y = np.isfinite(data.beta_y) & np.isfinite(data.se_y)
    return x, y, x & (data.beta_x != 0) if data.unmoved is None else x & (data.beta_x != 0) & ~data.unmoved


def _not_moved(data: MRData, still: Mask) -> list[str]:
    """Why each of these exposures has no instrument."""
    out = []
    for f in np.flatnonzero(still):
        dead = data.unmoved is not None and bool(data.unmoved[f].all())
        out.append(DEAD if dead else NOT_MOVED if np.isfinite(data.beta_x[f]).any() else UNKNOWN)
    return out


def _outcome_patterns(data: MRData, y: Mask, result: ResultTable) -> list[tuple[NDArray[np.int_], Mask]]:
    """Outcomes that share a pattern of usable instruments; those that nothing moves are said not to vary."""
    zero = (y & (data.beta_y != 0)).sum(axis=1) == 0
    # One or two effects are 0 in a rounded table of an outcome that varies.
    varies = ~zero | ((y.sum(axis=1) > 0) & (y.sum(axis=1) < FEW))
    for o in np.flatnonzero(~varies):
        result.fail(slice(None), np.array([o]), FLAT_OUTCOME if y[o].any() else NO_OUTCOME)
    rows = np.flatnonzero(varies)
    return [(rows[local], used) for local, used in _patterns(y[rows])]


def _too_few(needed: int, found: int) -> str:
    return f"needs at least {needed} instrument{'s' if needed > 1 else ''} and has {found}: add instruments"


def _multivariable(
    data: MRData, how: Estimator, result: ResultTable
) -> Iterator[tuple[Rows, Rows, Mask | None]]:
    """The exposures that something moves, jointly, of dependent ones those that the others are made of;
    outcomes grouped by the instruments that all of these exposures have too."""
    x, y, moves = _measured(data)
    for yrows, yused in _outcome_patterns(data, y, result):
        alive = np.asarray(moves[:, yused].any(axis=1))
        if not alive.all():
            result.leave_out(np.flatnonzero(~alive), yrows, _not_moved(data, ~alive))
        live = np.flatnonzero(alive)
        used = x[live].all(axis=0) & yused
        n, F = int(used.sum()), len(live)
        result.n_instruments[np.ix_(live, yrows)] = n
        sets = dependent_sets(data.beta_x[live][:, used].T) if n else []
        spare = {m for s in sets for m in s.members if m not in s.kept}
        kept = live[[k for k in range(F) if k not in spare]]
        if n < len(kept) + how.min_instruments or (sets and n <= len(kept)):
            result.fail(live, yrows, _too_few_joint(data, how, live, x, n))
        elif how.most_exposures is not None and len(kept) > how.most_exposures:
            result.fail(live, yrows, _too_many(how, len(kept)))
        elif len(kept):
            result.sets += [(s.among(live), yrows) for s in sets]
            yield _consecutive(kept), _consecutive(yrows), None if used.all() else used


def _too_many(how: Estimator, found: int) -> str:
    """That a method would take hours for so many exposures, and what does not."""
    return (
        f"{found} exposures, of which {how.name} takes at most {how.most_exposures} (more would take hours): use"
        " mrbee, srivw or mv_ivw, or leave exposures out (mv_lasso and susie_mv choose among many)"
    )


def _too_few_joint(data: MRData, how: Estimator, live: NDArray[np.int_], x: Mask, n: int) -> str:
    """That there are too few instruments, and which exposure lacks most of them."""
    text = f"{len(live)} exposures need at least {len(live) + how.min_instruments} instruments and have {n}"
    lacking = (~x[live]).sum(axis=1)
    if lacking.any():
        worst = int(lacking.argmax())
        text += (
            f" in common ({data.exposures[live[worst]]} lacks {lacking[worst]} of {x.shape[1]}):"
            " leave that exposure out, or measure it"
        )
        return text
    return text + ": add instruments or leave exposures out"


def _ld_problem(data: MRData, how: Estimator) -> str:
    if "ld" not in how.options:
        return ""
    if data.ld is None:
        required = how.options["ld"] is inspect.Parameter.empty
        return "needs the correlation between the instruments (ld)" if required else ""
    if not np.isfinite(data.ld).all():
        return "the correlation between the instruments has missing or infinite entries"
    least = -1e-7 * len(data.ld)
    smallest = lowest_eigenvalue((data.ld + data.ld.T) / 2, least)
    if smallest < least:
        return (
            "the correlation between the instruments is not positive semidefinite"
            f" (smallest eigenvalue {smallest:.3g}): estimate it from one set of runs or shrink it"
        )
    return ""


def _given(
    data: MRData, how: Estimator, rows: Rows, cols: Rows, used: Mask | None, level: float
) -> dict[str, Any]:
    """What the data hold for the keywords that the kernel names."""
    keep = np.ones(len(data.instruments), bool) if used is None else used
    F = len(data.exposures)
    traits = np.r_[np.arange(F)[rows], F + np.arange(len(data.outcomes))[cols]]
    wanted = set(how.options).intersection(GIVEN)
    out: dict[str, Any] = {}
    if "rho" in wanted:
        out["rho"] = _rho(data, rows, cols, keep)
    if "ld" in wanted:
        out["ld"] = None if data.ld is None else data.ld[np.ix_(keep, keep)]
    if "error_corr" in wanted:
        out["error_corr"] = None if data.error_corr is None else data.error_corr[np.ix_(traits, traits)]
    if "sigma" in wanted:
        known = data.sigma is not None or data.error_corr is not None
        out["sigma"] = data.error_covariance()[keep][:, traits[:, None], traits] if known else None
    if "sigma_xx" in wanted:
        out["sigma_xx"], out["sigma_xy"] = _error_blocks(data, rows, cols, keep)
    for name, value, where in (("n_x", data.n_x, rows), ("n_y", data.n_y, cols)):
        if name in wanted:
            out[name] = None if value is None else np.asarray(value, float)[where]
    if "level" in wanted:
        out["level"] = level
    return out


def _impossible(keywords: dict[str, Any]) -> Mask | None:
    """Cells (f, o) whose errors are said to correlate beyond 1; they are computed as if independent."""
    rho = keywords.get("rho")
    if rho is None:
        return None
    beyond = np.asarray(~(np.abs(rho) <= 1.0 + 1e-9))
    if not beyond.any():
        return None
    keywords["rho"] = np.where(beyond, 0.0, rho)
    return beyond


def _error_blocks(data: MRData, rows: Rows, cols: Rows, keep: Mask) -> tuple[Array | None, Array | None]:
    """Covariance of the exposures' errors, (J, f, f), and with the outcomes', (J, f, o); None where nothing is known."""
    F = len(data.exposures)
    if data.sigma is not None:
        sigma = data.sigma[keep]
        return sigma[:, :F, :F][:, rows][:, :, rows], sigma[:, :F, F:][:, rows][:, :, cols]
    if data.error_corr is None:
        return None, None
    sx, sy = data.se_x[rows][:, keep].T, data.se_y[cols][:, keep].T
    xx, xy = data.error_corr[:F, :F][rows][:, rows], data.error_corr[:F, F:][rows][:, cols]
    cross = sx[:, :, None] * xy * sy[:, None, :] if xy.any() else None
    return sx[:, :, None] * xx * sx[:, None, :], cross


def _rho(data: MRData, rows: Rows, cols: Rows, keep: Mask) -> Array | None:
    """Correlation of the errors of exposure and outcome, (f, o); the mean over instruments of Sigma's."""
    F = len(data.exposures)
    if data.sigma is not None:
        sd = np.sqrt(np.einsum("jtt->jt", data.sigma[keep]))
        cross = data.sigma[keep][:, :F, F:][:, rows][:, :, cols]
        scale = sd[:, :F][:, rows, None] * sd[:, F:][:, None, cols]
        return np.asarray((cross / scale).mean(axis=0))
    if data.sigma_xy is not None:
        scale = data.se_x[rows][:, None, :] * data.se_y[cols][None, :, :]
        cross = data.sigma_xy[:, rows][:, :, cols].transpose(1, 2, 0)
        return np.asarray((cross[:, :, keep] / scale[:, :, keep]).mean(axis=2))
    if data.error_corr is not None:
        return np.asarray(data.error_corr[:F, F:][rows][:, cols])
    return None
