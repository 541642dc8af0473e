"""A Gaussian process over groups of columns (Rasmussen and Williams, chapters 2 and 5). Pure.

Its covariance is ``c + s (exp(-q/2) + a l)``-like: ``q`` the squared distance and ``l`` the inner
product, both summed over the groups with one weight for each. A parameter that does not matter
gets a small weight and is out of both; the linear part goes on where nothing was seen. The weights
are those of the largest posterior, under priors that think a parameter does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from scheduler.core.forecast.descent import lowest
from scheduler.core.forecast.features import Array

LEVEL = 0.5  #: variance of the constant; the target's own is 1
LEAST_NOISE = 1e-6
BOUND = 9.0  #: of the logarithms of all that is learned

#: Logarithm of the prior's middle and its spread. Chosen on generated trainings at 12 to 50 trials:
#: weights around 0.03 were better than 0.3 by a tenth of the error, a noise of 0.01 steadier.
WEIGHT = (math.log(0.03), 2.0)
LINEAR = (0.0, 2.0)
SCALE = (0.0, 1.5)
NOISE = (math.log(0.01), 2.0)

Learned = Array  #: logarithms: a weight a group, then the linear part, the scale, the noise


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Of n trials: the groups' columns, their target, and how many times the noise each has."""

    rows: list[Array]
    target: Array
    noise: Array

    def of(self, chosen: Array | slice) -> Data:
        return Data(
            rows=[one[chosen] for one in self.rows],
            target=self.target[chosen],
            noise=self.noise[chosen],
        )


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """Conditioned on *data*, whose target has the variance 1 and the mean 0 or thereabouts."""

    data: Data
    learned: Learned
    inverse: Array  #: of the covariance
    weights: Array  #: the inverse times the target
    cost: float  #: minus the logarithm of the posterior

    def predict(self, rows: Sequence[Array]) -> tuple[Array, Array]:
        """Mean and variance, without noise, for each row."""
        across = _covariance(_across(rows, self.data.rows), self.learned)
        own = _covariance(_own(rows, self.data.rows), self.learned)
        mean = across @ self.weights
        variance = own - np.einsum("ij,ij->i", across @ self.inverse, across)
        return mean, np.maximum(variance, 1e-9)

    @property
    def noise(self) -> float:
        """Variance of the noise, where a trial has it once."""
        return float(np.exp(self.learned[-1])) + LEAST_NOISE

    def left_out(self) -> tuple[Array, Array]:
        """Error (target - mean) and variance, noise included, of each trial had it not been there:
        Rasmussen and Williams, equations 5.12. What was learned has seen it all the same."""
        variance = 1 / np.diag(self.inverse)
        return self.weights * variance, variance


def first_guess(groups: int) -> Learned:
    return _prior(groups)[0]


def learn(data: Data, start: Learned, most_steps: int) -> Learned:
    """What makes *data* most probable."""
    apart = _across(data.rows, data.rows)
    return lowest(lambda at: _slope(data, apart, at), start, most_steps)


def condition(data: Data, learned: Learned) -> Process:
    """Raises numpy.linalg.LinAlgError where the covariance is singular in double precision."""
    apart = _across(data.rows, data.rows)
    covariance = _covariance(apart, learned)
    inverse, weights, cost = _solve(data, covariance, learned)
    return Process(data=data, learned=learned, inverse=inverse, weights=weights, cost=cost)


Apart = tuple[list[Array], list[Array]]  #: squared distances and inner products, group by group


def _across(rows: Sequence[Array], seen: Sequence[Array]) -> Apart:
    squares, products = [], []
    for one, other in zip(rows, seen, strict=True):
        middle = other.mean(axis=0)
        product = (one - middle) @ (other - middle).T
        lengths = ((one - middle) ** 2).sum(axis=1), ((other - middle) ** 2).sum(axis=1)
        squares.append(np.maximum(lengths[0][:, None] + lengths[1] - 2 * product, 0.0))
        products.append(product)
    return squares, products


def _own(rows: Sequence[Array], seen: Sequence[Array]) -> Apart:
    """Of each row with itself."""
    products = [
        ((one - other.mean(axis=0)) ** 2).sum(axis=1) for one, other in zip(rows, seen, strict=True)
    ]
    return [np.zeros_like(one) for one in products], products


def _covariance(apart: Apart, learned: Learned) -> Array:
    weights, linear, scale = np.exp(learned[:-3]), np.exp(learned[-3]), np.exp(learned[-2])
    squares, products = apart
    near = np.exp(-0.5 * sum(w * one for w, one in zip(weights, squares, strict=True)))
    along = sum(w * one for w, one in zip(weights, products, strict=True))
    return np.asarray(LEVEL + scale * near + linear * along, dtype=np.float64)


def _solve(data: Data, covariance: Array, learned: Learned) -> tuple[Array, Array, float]:
    noise = (np.exp(learned[-1]) + LEAST_NOISE) * data.noise
    lower = np.linalg.cholesky(covariance + np.diag(noise))
    half = np.linalg.inv(lower)
    inverse = half.T @ half
    weights = inverse @ data.target
    prior, spread = _prior(len(learned) - 3)
    cost = 0.5 * data.target @ weights + np.log(np.diag(lower)).sum()
    cost += 0.5 * (((learned - prior) / spread) ** 2).sum()
    return inverse, weights, float(cost)


def _slope(data: Data, apart: Apart, at: Learned) -> tuple[float, Array]:
    """Cost and its gradient (Rasmussen and Williams, equation 5.9)."""
    if np.abs(at).max() > BOUND:
        return math.inf, np.zeros_like(at)
    squares, products = apart
    weights, linear, scale = np.exp(at[:-3]), np.exp(at[-3]), np.exp(at[-2])
    near = scale * np.exp(-0.5 * sum(w * one for w, one in zip(weights, squares, strict=True)))
    along = linear * sum(w * one for w, one in zip(weights, products, strict=True))
    try:
        inverse, solved, cost = _solve(data, LEVEL + near + along, at)
    except np.linalg.LinAlgError:
        return math.inf, np.zeros_like(at)
    turn = 0.5 * (inverse - np.outer(solved, solved))
    bent = turn * near
    gradient = np.empty_like(at)
    for i, (square, product) in enumerate(zip(squares, products, strict=True)):
        bends = -0.5 * np.vdot(bent, square) + linear * np.vdot(turn, product)
        gradient[i] = weights[i] * bends
    gradient[-3] = np.vdot(turn, along)
    gradient[-2] = bent.sum()
    gradient[-1] = np.exp(at[-1]) * (np.diag(turn) * data.noise).sum()
    prior, spread = _prior(len(at) - 3)
    return cost, gradient + (at - prior) / spread**2


def _prior(groups: int) -> tuple[Array, Array]:
    """Middle and spread of each."""
    pairs = [WEIGHT] * groups + [LINEAR, SCALE, NOISE]
    return np.array([middle for middle, _ in pairs]), np.array([spread for _, spread in pairs])
