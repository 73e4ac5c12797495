"""IVW without each instrument in turn, for all features and outcomes, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_type
from mrinterp.core.mrdata import MRData

__all__ = ["leave_one_out_ivw"]

Array = NDArray[np.float64]


def leave_one_out_ivw(data: MRData) -> tuple[Array, Array]:
    """Estimates and floored errors of `ivw` (first-order weights) without each instrument.

    Parameters
    ----------
    data : MRData
        F exposures, O outcomes, J instruments.

    Returns
    -------
    beta, se : ndarray (F, O, J)
        The estimate without instrument j, and its error.

    Notes
    -----
    Missing instruments count as absent throughout, and leaving one out changes nothing. With fewer
    than three instruments the error is that of the fixed effect. Memory is F O J doubles, several
    times: call it on blocks of features where that is too much. Not valid for correlated instruments.

    Examples
    --------
    >>> import mrinterp
    >>> data = mrinterp.scan.marginal_scan(mrinterp.worlds.linear_world(0).panel).to_mrdata()
    >>> beta, se = mrinterp.mr.leave_one_out_ivw(data)
    >>> beta.shape == se.shape == (5, 1, len(data.instruments))
    True
    """
    checked_type(data, "data", MRData, "mrinterp.scan.marginal_scan(panel).to_mrdata() makes it of runs")
    b, g = data.beta_x[:, None, :], data.beta_y[None, :, :]
    here = np.isfinite(b) & np.isfinite(data.se_x[:, None, :]) & np.isfinite(g) & np.isfinite(data.se_y[None])
    w = np.where(here, 1.0 / np.square(np.where(here, data.se_y[None], 1.0)), 0.0)
    b, g = np.where(here, b, 0.0), np.where(here, g, 0.0)
    parts = [w * b * b, w * b * g, w * g * g]
    xx, xy, yy = (p.sum(axis=2, keepdims=True) - p for p in parts)
    left = here.sum(axis=2, keepdims=True) - here
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = xy / xx
        q = np.maximum(yy - beta * xy, 0.0)
        sigma = np.sqrt(q / np.where(left > 1, left - 1.0, np.nan))
        scale = np.where(left > 1, np.maximum(sigma, 1.0), 1.0)
        return beta, scale / np.sqrt(xx)
