"""A linear model of cycles whose coefficients cannot be negative, with scikit-learn's contract."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

Floats = NDArray[np.float64]


class CyclesRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Non-negative least squares on the relative error.

    Every feature is a count, every coefficient the cycles that one of it costs. There is no intercept: a
    constant cost is a feature that is always 1.

    Parameters
    ----------
    alpha : float, default=1e-4
        Ridge penalty on each feature's share of the cycles, in `[0, inf)`. It keeps apart what always
        occurs together; larger values spread the cost more evenly over such features.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Cycles per unit of each feature, in `[0, inf)`.
    x_min_, x_max_ : ndarray of shape (n_features,)
        The range of each feature in `fit`.
    y_min_ : float
        The fewest cycles in `fit`.
    n_features_in_ : int
        Number of features seen in `fit`.
    """

    def __init__(self, *, alpha: float = 1e-4) -> None:
        self.alpha = alpha

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to measured cycles.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Counts, in `[0, inf)`.
        y : array-like of shape (n_samples,)
            Cycles, in `(0, inf)`.
        """
        counts, cycles = _validated(self, X, y)
        if np.any(cycles <= 0):
            raise ValueError("y must be positive: a count of 0 cycles has no relative error")
        shares = counts / cycles[:, np.newaxis]  # (samples, features); what they add up to is 1
        scale = np.sqrt(np.mean(shares**2, axis=0))
        scale[scale == 0] = 1.0  # a feature that never occurs keeps the coefficient 0
        penalty = np.sqrt(self.alpha * len(cycles)) * np.eye(counts.shape[1])
        design = np.vstack([shares / scale, penalty])  # (samples + features, features)
        target = np.concatenate([np.ones(len(cycles)), np.zeros(counts.shape[1])])
        linear = LinearRegression(positive=True, fit_intercept=False).fit(design, target)
        self.coef_ = linear.coef_ / scale
        self.x_min_, self.x_max_ = counts.min(axis=0), counts.max(axis=0)
        self.y_min_ = float(cycles.min())
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Cycles, in `[0, inf)`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Counts, in `[0, inf)`.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        cycles: Floats = self._counts(X) @ self.coef_
        return cycles

    def _counts(self, X: ArrayLike) -> Floats:
        counts: Floats = validate_data(self, X, dtype=np.float64, reset=False, ensure_non_negative=True)
        return counts

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.target_tags.positive_only = True
        return tags


def _validated(estimator: CyclesRegressor, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    counts, cycles = validate_data(estimator, X, y, y_numeric=True, dtype=np.float64)
    check_non_negative(counts, "CyclesRegressor.fit")
    return counts, cycles
