"""Multivariable lasso: direct effects of instruments are penalized, those that stay away from zero set aside."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.heterogeneity_stop import heterogeneity_stop
from mrinterp.mr._engine.inference import choice, heterogeneity
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData
from mrinterp.mr._multivariable.joint_estimator import joint_estimator

__all__ = ["mv_lasso"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_GRID = 100
_SMALLEST = 1e-4


@joint_estimator(
    "mv_lasso",
    "MV lasso",
    assumes=(
        "instruments are independent of one another",
        "invalid instruments are few and stand out; there is no balanced pleiotropy of all (intervals are then"
        " much too narrow)",
        "the selection of valid instruments is right: the error ignores it",
        "errors of the exposure effects are small beside their spread (conditional F above 10)",
    ),
    reference="Grant & Burgess 2021 Stat Med, doi:10.1002/sim.9156",
    beyond=2,
    subtracts="nothing",
    covariances=False,
)
def mv_lasso(
    data: JointData,
    *,
    penalty: float | None = None,
    standardize: str = "rms",
) -> Fit:
    """MV-IVW on the instruments whose direct effect the lasso leaves at zero.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    penalty : float, optional
        Penalty lambda; by default chosen by `heterogeneity_stop` on a path of 100 from the smallest
        that calls all instruments valid down to 1e-4 of it.
    standardize : {"rms", "centred"}
        Scale s_j of the projected columns in the penalty: root mean square; or, as the R packages have it,
        the centred deviation after orienting instruments to the first exposure, which makes the result
        depend on that orientation.

    Returns
    -------
    Fit
        Arrays (F, O); ``details`` holds ``penalty``, ``n_valid``, ``penalized_effect`` (the lasso's own
        estimate) and Q of the valid instruments; flags ``outliers`` (set aside); ``meta["direct_effects"]`` the
        penalized direct effects that are not zero, of the first 16 outcomes.

    Notes
    -----
    The lasso minimizes, w_j = 1/syy_j::

        Sum w_j (g_j - b_j'theta - alpha_j)^2 / (2 J)  +  lambda Sum s_j |alpha_j|

    With theta projected out (P = I - H, H the hat matrix of W^(1/2) B) this is a lasso of P W^(1/2) g on the
    columns of P W^(1/2), of scale s_j, solved along its exact path (least angle regression, one outcome
    after the other: each has a path of its own). The estimate is MV-IVW over the instruments with
    alpha_j = 0, its error multiplied by max(1, residual standard error). Model and rule: Grant & Burgess 2021.
    Errors of exposures are not corrected for, so that it serves either design where instruments are strong.
    The error ignores the selection: its level does not hold when all instruments are pleiotropic (type-I
    error .29 to .34 under balanced pleiotropy, .05 to .09 with strong independent instruments otherwise, in
    ``benchmarks/mr_simulations.py``).
    """
    choice("standardize", standardize, ("rms", "centred"))
    J, F, O = data.size
    beta, se = np.full((F, O), np.nan), np.full((F, O), np.nan)
    own, q, chosen = np.full((F, O), np.nan), np.full(O, np.nan), np.full(O, np.nan)
    valid = np.ones((O, J), bool)
    words = np.full(O, "ok", dtype=object)
    direct: list[dict[str, Any]] = []
    for o in np.flatnonzero([p == "" for p in data.problem]):
        path = _path(data, int(o), penalty, standardize)
        valid_counts = path.valid.sum(axis=1)
        usable = valid_counts >= F + 1
        if not usable.any():
            words[o] = "every penalty leaves fewer valid instruments than exposures: raise the penalty"
            continue
        fits = _valid_fits(data, int(o), path.valid)
        i = 0
        if penalty is None:
            i = int(heterogeneity_stop(fits.sigma[None], valid_counts[None], usable[None])[0])
        if not usable[i]:
            words[o] = "this penalty leaves fewer valid instruments than exposures: raise it"
            continue
        chosen[o], valid[o] = path.penalty[i], path.valid[i]
        beta[:, o], se[:, o], q[o] = fits.beta[i], fits.se[i], fits.q[i]
        w = data.weight[o]
        own[:, o] = np.linalg.solve((data.b.T * w) @ data.b, (data.b.T * w) @ (data.g[o] - path.alpha[i]))
        if o < 16:
            set_aside = np.flatnonzero(path.alpha[i])
            effects = path.alpha[i][set_aside].tolist()
            direct.append({"outcome": int(o), "instruments": set_aside.tolist(), "effects": effects})
    count = valid.sum(axis=1)
    spread = [heterogeneity(q[o : o + 1], int(count[o] - F)) for o in range(O)]
    details = {k: np.broadcast_to(np.concatenate([s[k] for s in spread]), (F, O)) for k in spread[0]}
    details |= {
        "penalty": np.broadcast_to(chosen, (F, O)),
        "n_valid": np.broadcast_to(count.astype(float), (F, O)),
    }
    details["penalized_effect"] = own
    meta = {"direct_effects": direct}
    flags = {"outliers": np.broadcast_to(~valid, (F, O, J))}
    df = np.broadcast_to(count - float(F), (F, O))
    return Fit(beta, se, df, status=words, details=details, meta=meta, flags=flags)


@dataclass(frozen=True, eq=False)
class _LassoPath:
    """Penalties ascending (L,), direct effects (L, J) and which are zero (L, J)."""

    penalty: Array
    alpha: Array
    valid: Bools


@dataclass(frozen=True, eq=False)
class _ValidFits:
    """MV-IVW on each valid set: beta, se (L, K) with random-effects floor, Q and residual error (L,)."""

    beta: Array
    se: Array
    q: Array
    sigma: Array


def _path(data: JointData, o: int, penalty: float | None, standardize: str) -> _LassoPath:
    """The lasso of one outcome at a geometric grid of penalties, or at one."""
    from sklearn.linear_model import lars_path_gram

    J = data.size[0]
    root = np.sqrt(data.weight[o])
    q = np.linalg.qr(root[:, None] * data.b)[0]
    columns = (np.eye(J) - q @ q.T) * root
    y = root * data.g[o]
    y = y - q @ (q.T @ y)
    if standardize == "rms":
        size = np.sqrt((columns**2).mean(axis=0))
    else:
        size = (columns * np.where(data.b[:, :1] < 0, -1.0, 1.0)).std(axis=0)
    columns = columns / size
    top = float(np.abs(columns.T @ y).max() / J)
    wanted = np.array([penalty]) if penalty is not None else top * _SMALLEST ** np.linspace(1.0, 0.0, _GRID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the path ends where the projected columns become dependent
        knots, _, coefficients = lars_path_gram(
            columns.T @ y, columns.T @ columns, n_samples=J, method="lasso", alpha_min=float(wanted.min())
        )
    order = np.argsort(knots)
    at = (
        np.searchsorted(knots[order], wanted).clip(1, max(len(knots) - 1, 1))
        if len(knots) > 1
        else np.zeros(len(wanted), int)
    )
    if len(knots) == 1:
        alpha = np.zeros((len(wanted), J))
    else:
        low, high = order[at - 1], order[at]
        share = ((wanted - knots[low]) / np.maximum(knots[high] - knots[low], 1e-300)).clip(0.0, 1.0)
        alpha = ((1.0 - share) * coefficients[:, low] + share * coefficients[:, high]).T
        zero = (coefficients[:, low] == 0).T & (coefficients[:, high] == 0).T
        alpha[zero | (wanted >= knots.max())[:, None]] = 0.0
    alpha = alpha / size
    return _LassoPath(wanted, alpha, alpha == 0.0)


def _valid_fits(data: JointData, o: int, valid: Bools) -> _ValidFits:
    """MV-IVW on every set of the path at once."""
    J, K, _ = data.size
    a = data.weight[o] * valid
    gram = (a @ (data.b[:, :, None] * data.b[:, None, :]).reshape(J, K * K)).reshape(-1, K, K)
    inverse = np.linalg.pinv(gram, hermitian=True)
    beta = np.matmul(inverse, ((a * data.g[o]) @ data.b)[..., None])[..., 0]
    e = data.g[o] - beta @ data.b.T
    q = (a * e * e).sum(axis=1)
    sigma = np.sqrt(q / np.maximum(valid.sum(axis=1) - K, 1))
    se = np.sqrt(np.maximum(np.einsum("lkk->lk", inverse), 0.0)) * np.maximum(sigma, 1.0)[:, None]
    return _ValidFits(beta, se, q, sigma)
