"""Tunes PPO on a balancing pole, best known settings first: an ordinary Optuna script.

    python examples/ppo.py            one trial after another
    scheduler run examples/ppo.py     side by side

Everything is here and needs numpy only: the pole (Barto, Sutton and Anderson 1983, with the numbers
that CartPole-v1 uses), networks of one hidden layer, and PPO with a clipped ratio (Schulman et al.
2017) and generalised advantages (Schulman et al. 2015).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import optuna

#: What earlier searches found to work; tried before anything else.
KNOWN = (
    {"rate": 3e-3, "clip": 0.2, "gamma": 0.98, "smoothing": 0.95, "entropy": 0.01, "hidden": 32},
    {"rate": 1e-3, "clip": 0.1, "gamma": 0.99, "smoothing": 0.9, "entropy": 0.0, "hidden": 64},
)
POLES = 16
STEPS = 128  #: of each pole, between two updates
PASSES = 6  #: over what was seen
MINIBATCH = 256
LONGEST = 500


class Poles:
    """Several carts with a pole each. One that falls, or stays up long enough, begins anew."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.state = random.uniform(-0.05, 0.05, (POLES, 4))
        self.age = np.zeros(POLES, dtype=int)
        self.ages_at_end: list[int] = []

    def push(self, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One step of 20 ms. Which poles ended, and what of it was a fall."""
        _, speed, angle, spin = self.state.T
        force = np.where(right, 10.0, -10.0)
        pull = (force + 0.05 * spin**2 * np.sin(angle)) / 1.1
        turn = 9.8 * np.sin(angle) - np.cos(angle) * pull
        turn /= 0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1)
        push = pull - 0.05 * turn * np.cos(angle) / 1.1
        self.state = self.state + 0.02 * np.stack([speed, push, spin, turn], axis=1)
        self.age += 1
        fell = (np.abs(self.state[:, 0]) > 2.4) | (np.abs(self.state[:, 2]) > np.radians(12))
        ended = fell | (self.age >= LONGEST)
        return ended, fell

    def renew(self, ended: np.ndarray) -> None:
        self.ages_at_end += self.age[ended].tolist()
        self.state[ended] = self.random.uniform(-0.05, 0.05, (int(ended.sum()), 4))
        self.age[ended] = 0

    def mean_age(self) -> float:
        """Steps that a pole stayed up, over the last 32 that ended."""
        return float(np.mean(self.ages_at_end[-32:] or [0]))


class Network:
    """One hidden layer of tanh, and Adam."""

    def __init__(self, hidden: int, outputs: int, random: np.random.Generator) -> None:
        self.weights = [
            random.normal(0, 0.5, (4, hidden)),
            np.zeros(hidden),
            random.normal(0, 0.1 / np.sqrt(hidden), (hidden, outputs)),
            np.zeros(outputs),
        ]
        self.moments = [(np.zeros_like(one), np.zeros_like(one)) for one in self.weights]
        self.updates = 0

    def __call__(self, seen: np.ndarray) -> np.ndarray:
        self.seen = seen
        self.inner = np.tanh(seen @ self.weights[0] + self.weights[1])
        out: np.ndarray = self.inner @ self.weights[2] + self.weights[3]
        return out

    def learn(self, slope: np.ndarray, rate: float) -> None:
        """One step down; *slope* is that of the loss by the last output."""
        below = (slope @ self.weights[2].T) * (1 - self.inner**2)
        slopes = [self.seen.T @ below, below.sum(0), self.inner.T @ slope, slope.sum(0)]
        self.updates += 1
        for weight, one, (mean, square) in zip(self.weights, slopes, self.moments, strict=True):
            mean += 0.1 * (one - mean)
            square += 0.001 * (one**2 - square)
            step = mean / (1 - 0.9**self.updates)
            weight -= rate * step / (np.sqrt(square / (1 - 0.999**self.updates)) + 1e-8)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


class Learner:
    """PPO on ``Poles``."""

    def __init__(self, params: dict[str, Any], seed: int) -> None:
        self.params = params
        self.random = np.random.default_rng(seed)
        self.poles = Poles(self.random)
        self.actor = Network(params["hidden"], 2, self.random)
        self.critic = Network(params["hidden"], 1, self.random)

    def update(self) -> float:
        """Play, learn from it, and say how long poles stay up."""
        seen, done, before, worth, goal = self._play()
        worth = (worth - worth.mean()) / (worth.std() + 1e-8)
        for _ in range(PASSES):
            for part in np.array_split(self.random.permutation(len(seen)), len(seen) // MINIBATCH):
                self._learn_to_act(seen[part], done[part], before[part], worth[part])
                error = self.critic(seen[part])[:, 0] - goal[part]
                self.critic.learn(error[:, None] / len(part), self.params["rate"])
        return self.poles.mean_age()

    def _play(self) -> tuple[np.ndarray, ...]:
        """States, actions, their log probabilities, advantages and returns, flat."""
        gamma, smoothing = self.params["gamma"], self.params["smoothing"]
        rows = []
        for _ in range(STEPS):
            seen = self.poles.state.copy()
            logs = log_softmax(self.actor(seen))
            right = self.random.random(POLES) < np.exp(logs[:, 1])
            value = self.critic(seen)[:, 0]
            ended, fell = self.poles.push(right)
            after = np.where(fell, 0.0, self.critic(self.poles.state)[:, 0])
            self.poles.renew(ended)
            done = right.astype(int)
            rows.append((seen, done, logs[np.arange(POLES), done], value, after, ended))
        worth, later = np.zeros((STEPS, POLES)), np.zeros(POLES)
        for step in reversed(range(STEPS)):
            _, _, _, value, after, ended = rows[step]
            later = 1 + gamma * after - value + gamma * smoothing * later * ~ended
            worth[step] = later
        seen, done, before, value = (np.concatenate([row[i] for row in rows]) for i in range(4))
        return seen, done, before, worth.ravel(), worth.ravel() + value

    def _learn_to_act(
        self, seen: np.ndarray, done: np.ndarray, before: np.ndarray, worth: np.ndarray
    ) -> None:
        """The clipped objective's slope by the scores, less the entropy's."""
        logs = log_softmax(self.actor(seen))
        chances = np.exp(logs)
        ratio = np.exp(logs[np.arange(len(seen)), done] - before)
        clip = self.params["clip"]
        clipped = np.where(worth > 0, ratio > 1 + clip, ratio < 1 - clip)
        weight = np.where(clipped, 0.0, ratio * worth)[:, None]
        slope = weight * (chances - np.eye(2)[done])
        entropy = -(chances * logs).sum(1, keepdims=True)
        slope += self.params["entropy"] * chances * (logs + entropy)
        self.actor.learn(slope / len(seen), self.params["rate"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--trials", type=int, default=16)
    asked = parser.parse_args()

    def objective(trial: optuna.Trial) -> float:
        params = {
            "rate": trial.suggest_float("rate", 1e-4, 3e-2, log=True),
            "clip": trial.suggest_float("clip", 0.05, 0.4),
            "gamma": trial.suggest_float("gamma", 0.9, 0.999),
            "smoothing": trial.suggest_float("smoothing", 0.8, 1.0),
            "entropy": trial.suggest_float("entropy", 0.0, 0.05),
            "hidden": trial.suggest_categorical("hidden", [16, 32, 64]),
        }
        learner = Learner(params, seed=trial.number)
        curve: list[float] = []
        for update in range(asked.updates):
            curve.append(learner.update())
            print(f"update {update}: {curve[-1]:.0f} steps", flush=True)
            trial.report(curve[-1], update)
            if trial.should_prune():
                raise optuna.TrialPruned(f"{curve[-1]:.0f} steps after update {update}")
        return float(np.mean(curve))  # many settings get there in the end: sooner is better

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=10),
    )
    for known in KNOWN:
        study.enqueue_trial(known)
    study.optimize(objective, n_trials=asked.trials)
    print(f"best: {study.best_value:.0f} steps on average, with {study.best_params}")


if __name__ == "__main__":
    main()
