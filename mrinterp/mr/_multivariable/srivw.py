"""Spectrally regularized inverse-variance weighting for many weak instruments and several exposures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData, outcome_blocks
from mrinterp.mr._multivariable.joint_estimator import joint_estimator

__all__ = ["srivw"]

Array = NDArray[np.float64]


@joint_estimator(
    "srivw",
    "Spectrally regularized IVW",
    assumes=(
        "instruments are independent of one another",
        "pleiotropy is balanced and independent of the instruments' strength",
        "the errors' covariance is known",
        "the regularization's bias is small beside the error",
    ),
    reference="Wu, Kang & Ye 2025 Biometrika, doi:10.1093/biomet/asaf053",
)
def srivw(data: JointData) -> Fit:
    """MRBEE with its moment matrix pushed away from singularity: eigenvalues L become L + phi/L.

    Parameters
    ----------
    data : JointData
        Effects with their errors.

    Returns
    -------
    Fit
        Arrays (F, O); ``details`` holds ``lambda_str``, ``phi`` and ``overdispersion`` (tau2, in units of the
        outcome's effect squared).

    Notes
    -----
    H = Sum w(bb' - Sxx) = U L U'; phi is the point of {0} u {exp(x - lambda_str): x = 0, .5, ..., 17}
    that minimizes (1/J) Sum e^2/(syy + theta'Sxx theta - 2 theta'sxy + tau2), with tau2 fixed at its
    phi = 0 value. Traits are divided by their median error first, because the regularization is not
    equivariant under scaling. Overdispersion and overlap are both carried: by the objective (tau2 and
    sxy) and by the sandwich Sum E_j E_j'. With phi = 0 it equals `mrbee` with the J/(J - F) factor.
    Source: Wu, Kang & Ye 2025, doi:10.1093/biomet/asaf053.
    """
    J, F, O = data.size
    ux, uy = np.median(data.sd, axis=0), np.median(1.0 / np.sqrt(data.weight), axis=1)
    data = _in_units(data, ux, uy)
    strength = data.strength()
    penalties = np.concatenate([[0.0], np.exp(np.arange(0.0, 17.25, 0.5) - strength)])
    beta, se = np.empty((F, O)), np.empty((F, O))
    phi, tau2 = np.empty(O), np.empty(O)
    for rows in outcome_blocks(O, 3 * J * F * len(penalties)):
        beta[:, rows], se[:, rows], phi[rows], tau2[rows] = _regularize(data, rows, penalties)
    failed = ~np.isfinite(se).all(axis=0)
    words = np.full(O, "ok", dtype=object)
    if strength < 0:
        words[:] = (
            f"instruments are too weak (lambda_str {strength:.2g}): the estimate is mostly regularization"
        )
    units = uy / ux[:, None]
    beta, se = beta * units, se * units
    beta[:, failed], se[:, failed] = np.nan, np.nan
    details = {"lambda_str": np.full((F, O), strength), "phi": np.broadcast_to(phi, (F, O))}
    details["overdispersion"] = np.broadcast_to(tau2 * uy**2, (F, O))
    return Fit(beta, se, status=words, details=details)


def _in_units(data: JointData, ux: Array, uy: Array) -> JointData:
    """The same data with exposures divided by ux (K,) and outcomes by uy (O,)."""
    return replace(
        data,
        b=data.b / ux,
        g=data.g / uy[:, None],
        weight=data.weight * np.square(uy)[:, None],
        sigma_xx=data.sigma_xx / (ux[:, None] * ux),
        sigma_xy=None if data.sigma_xy is None else data.sigma_xy / (ux * uy[:, None, None]),
    )


def _moment_tau2(w: Array, e: Array, v: Array) -> Array:
    """Overdispersion max(0, Sum w(e^2 - v)/Sum w) of each row; v without overdispersion."""
    return np.maximum(0.0, (w * (e * e - v)).sum(axis=1) / w.sum(axis=1))


def _regularize(
    data: JointData, rows: NDArray[np.int_], penalties: Array
) -> tuple[Array, Array, Array, Array]:
    """Estimate and error (K, rows), chosen phi and tau2 (rows,) of a block of outcomes."""
    J, K, _ = data.size
    n, P = len(rows), len(penalties)
    w = data.weight[rows]
    if data.shared is not None:  # one factorization, scaled to each outcome's weights
        values, vectors = np.linalg.eigh((data.shared @ data.corrected()).reshape(1, K, K))
        values = values * (w.sum(axis=1) / data.shared.sum())[:, None]
        vectors = np.broadcast_to(vectors, (n, K, K))
    else:
        values, vectors = np.linalg.eigh((w @ data.corrected()).reshape(n, K, K))
    c = np.matmul(vectors.transpose(0, 2, 1), data.cross(w, rows)[:, :, None])[:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = values[:, None, :] + penalties[None, :, None] / values[:, None, :]
        theta = np.matmul(vectors[:, None], (c[:, None, :] / shifted)[..., None])[..., 0]
    theta = np.nan_to_num(theta, nan=0.0, posinf=0.0, neginf=0.0)
    repeated = np.repeat(rows, P)
    e, v, _ = data.outcome_errors(repeated).residuals(theta.reshape(n * P, K))
    e, v = e.reshape(n, P, J), v.reshape(n, P, J)
    tau2 = _moment_tau2(w, e[:, 0], v[:, 0])
    best = np.argmin((e**2 / (v + tau2[:, None, None])).mean(axis=2), axis=1)
    chosen = theta[np.arange(n), best]
    inverse = np.matmul(vectors / shifted[np.arange(n), best][:, None, :], vectors.transpose(0, 2, 1))
    e, _, m = data.outcome_errors(rows).residuals(chosen)
    scores = w[:, :, None] * (data.b * e[:, :, None] + m)
    spread = np.matmul(scores, inverse)
    se = np.sqrt((spread**2).sum(axis=1) * (J / (J - K)))
    return chosen.T, se.T, penalties[best], tau2
