"""What the multivariable estimators share: checked arrays, bias-corrected moments, words for what fails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit
from mrinterp.stats.profile.likelihood import KnownErrors
from mrinterp.stats.profile.strength import lambda_str

__all__ = [
    "JointData",
    "joint_data",
    "outcome_blocks",
]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BLOCK_DOUBLES = 1 << 23
"""Numbers (64 MB) of one working array."""


def outcome_blocks(outcomes: int, per_outcome: int) -> list[NDArray[np.int_]]:
    """Consecutive outcomes in groups whose working arrays of ``per_outcome`` doubles stay below 64 MB."""
    size = max(1, _BLOCK_DOUBLES // max(per_outcome, 1))
    return [np.arange(i, min(i + size, outcomes)) for i in range(0, outcomes, size)]


def status_grid(exposures: int, status: list[str] | NDArray[np.object_]) -> NDArray[np.object_]:
    """One word per outcome, repeated for every exposure, (F, O)."""
    out = np.empty((exposures, len(status)), dtype=object)
    out[:] = np.asarray(status, dtype=object)[None, :]
    return out


def failed_fit(exposures: int, outcomes: int, why: str) -> Fit:
    """No estimate for any cell, and the reason."""
    nothing = np.full((exposures, outcomes), np.nan)
    return Fit(nothing, nothing.copy(), status=status_grid(exposures, [why] * outcomes))


@dataclass(frozen=True, eq=False)
class JointData:
    """J instruments, K exposures, O outcomes, instrument axis first for exposures and last for outcomes.

    ``b`` (J, K); ``g``, ``weight`` = 1/syy (O, J); ``sigma_xx`` (J, K, K); ``sigma_xy`` (O, J, K) or
    None. ``shared`` (J,) holds weights that serve every outcome when the outcomes' weights are
    proportional to one another (a common factor cancels from estimate and sandwich), else None.
    ``problem`` says per outcome why it cannot be estimated ("" where it can).
    """

    b: Array
    g: Array
    weight: Array
    sigma_xx: Array
    sigma_xy: Array | None
    shared: Array | None
    problem: list[str]

    @property
    def size(self) -> tuple[int, int, int]:
        """(instruments, exposures, outcomes)."""
        return (*self.b.shape, len(self.g))

    def outcome_errors(self, rows: NDArray[np.int_]) -> KnownErrors:
        """The chosen outcomes as errors-in-variables problems."""
        xy = None if self.sigma_xy is None else self.sigma_xy[rows]
        return KnownErrors(self.b[None], self.g[rows], 1.0 / self.weight[rows], self.sigma_xx, xy)

    def corrected(self) -> Array:
        """b_j b_j' - Sxx_j flattened, (J, K * K): H for weights a is ``a @ corrected()``."""
        J, K, _ = self.size
        return (self.b[:, :, None] * self.b[:, None, :] - self.sigma_xx).reshape(J, K * K)

    def cross(self, weight: Array, rows: NDArray[np.int_]) -> Array:
        """Sum_j a_oj (b_j g_oj - sxy_oj) for chosen outcomes; ``weight`` (len(rows), J) or (J,); (rows, K)."""
        total = (weight * self.g[rows]) @ self.b
        if self.sigma_xy is not None:
            a = np.broadcast_to(weight, (len(rows), len(self.b)))
            total = total - np.matmul(a[:, None, :], self.sigma_xy[rows])[:, 0]
        return np.asarray(total)

    @property
    def sd(self) -> Array:
        """Standard errors of the exposure effects, (J, K)."""
        return np.sqrt(np.einsum("jkk->jk", self.sigma_xx))

    def strength(self) -> float:
        """Strength of the weakest direction of exposures (`lambda_str`)."""
        return lambda_str(self.b.T, self.sd.T, self.sigma_xx)

    def finish(self, words: NDArray[np.object_] | list[str]) -> NDArray[np.object_]:
        """Status (F, O) from words per outcome (O,) or cell (F, O): the input's problem comes first."""
        out = np.array(np.broadcast_to(np.asarray(words, dtype=object), self.size[1:]), dtype=object)
        out[out == ""] = "ok"
        for o, problem in enumerate(self.problem):
            if problem:
                out[:, o] = problem
        return out


def _exposure_problem(b: Array, sigma_xx: Array, needed: int) -> str:
    J, K = b.shape
    if needed > J:
        return f"{K} exposures need at least {needed} instruments and have {J}: add instruments or leave exposures out"
    if not (np.isfinite(b).all() and np.isfinite(sigma_xx).all()):
        return "missing or infinite exposure effects: drop those instruments first"
    length = np.linalg.norm(b, axis=0)
    if (length == 0).any():
        return f"exposure {int(np.argmin(length)) + 1} is not moved by any instrument: leave it out"
    singular, vectors = np.linalg.svd(b / length, full_matrices=False)[1:]
    if singular[-1] < 1e-8 * singular[0]:
        involved = np.flatnonzero(np.abs(vectors[-1]) > 0.1) + 1
        return (
            f"exposures {', '.join(map(str, involved))} are collinear on these instruments: merge or drop one"
        )
    ridge = 1e-9 * np.einsum("jkk->jk", sigma_xx).mean(axis=1)
    try:
        np.linalg.cholesky(sigma_xx + ridge[:, None, None] * np.eye(K))
    except np.linalg.LinAlgError:
        worst = int(np.argmin(np.linalg.eigvalsh(sigma_xx)[:, 0])) + 1
        return f"the error covariance of the exposures at instrument {worst} is not positive semidefinite: shrink it"
    return ""


def _outcome_problems(g: Array, syy: Array, sigma_xx: Array, sigma_xy: Array | None) -> list[str]:
    O = len(g)
    words = np.full(O, "", dtype=object)
    words[~(np.isfinite(g) & np.isfinite(syy) & (syy > 0)).all(axis=1)] = (
        "missing outcome effects: drop those instruments first"
    )
    if sigma_xy is None:
        return [str(w) for w in words]
    K = sigma_xx.shape[1]
    ridge = 1e-9 * np.einsum("jkk->jk", sigma_xx).mean(axis=1)
    root = np.linalg.inv(np.linalg.cholesky(sigma_xx + ridge[:, None, None] * np.eye(K)))
    for rows in outcome_blocks(O, g.shape[1] * K):
        half = np.einsum("jkl,ojl->ojk", root, sigma_xy[rows])
        left = syy[rows] - np.einsum("ojk,ojk->oj", half, half)
        bad = (left < -1e-6 * syy[rows]).any(axis=1)
        words[rows[bad & (words[rows] == "")]] = (
            "the error covariance of exposures and outcome is not positive semidefinite: check the error correlation"
        )
    return [str(w) for w in words]


def _shared_weights(weight: Array) -> Array | None:
    """Weights (J,) to which every outcome's weights are proportional, or None."""
    scaled = weight / weight.mean(axis=1, keepdims=True)
    return scaled[0] if np.allclose(scaled, scaled[:1], rtol=1e-9, atol=0.0) else None


def joint_data(
    effects: Effects,
    sigma_xx: Array | None = None,
    sigma_xy: Array | None = None,
    *,
    needed: int,
) -> JointData | Fit:
    """Check and lay out the arrays of a multivariable kernel.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    sigma_xx : ndarray (J, F, F), optional
        Covariance of the errors of the exposure effects; from ``se_x``, uncorrelated, by default.
    sigma_xy : ndarray (J, F, O), optional
        Their covariance with the outcome's error; none by default.
    needed : int
        Fewest instruments.

    Returns
    -------
    JointData, or Fit
        A fit without estimates where no outcome can be estimated; its status says why.
    """
    b = np.ascontiguousarray(effects.beta_x.T, dtype=float)
    J, K = b.shape
    O = len(effects.beta_y)
    xx = (
        np.einsum("kj,kl->jkl", np.asarray(effects.se_x, float) ** 2, np.eye(K))
        if sigma_xx is None
        else np.asarray(sigma_xx, float)
    )
    why = _exposure_problem(b, xx, needed)
    if why:
        return failed_fit(K, O, why)
    g = np.asarray(effects.beta_y, dtype=float)
    syy = np.asarray(effects.se_y, dtype=float) ** 2
    xy = None if sigma_xy is None else np.ascontiguousarray(np.asarray(sigma_xy, float).transpose(2, 0, 1))
    problem = _outcome_problems(g, syy, xx, xy)
    bad = np.array([p != "" for p in problem], bool)
    if bad.any():  # keep the arrays whole; these cells are overwritten by their status
        g, syy = g.copy(), syy.copy()
        g[bad], syy[bad] = 0.0, 1.0
        if xy is not None:
            xy[bad] = 0.0
    weight = 1.0 / syy
    shared = _shared_weights(weight[~bad]) if not bad.all() else None
    return JointData(b, g, weight, xx, xy, shared, problem)
