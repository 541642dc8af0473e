"""Tunes a small network on scikit-learn's handwritten digits: an ordinary Optuna script.

    python examples/digits.py            one trial after another
    scheduler run examples/digits.py     side by side

Nothing is downloaded: the 1,797 images of 8 x 8 pixels come with scikit-learn. The network is a
convolutional one where torch is installed, else scikit-learn's own perceptron.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch
    from torch import nn
else:
    from sklearn.neural_network import MLPClassifier

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load() -> Data:
    """Pixels from 0 to 1 and digits: to train on, to test on, what is shown, what is right."""
    pixels, digits = load_digits(return_X_y=True)
    shown = (pixels / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        shown, digits, test_size=0.3, random_state=0, stratify=digits
    )
    return train_x, train_y, test_x, test_y


def train_torch(params: dict[str, Any], data: Data, epochs: int) -> Iterator[float]:
    """The accuracy on the test images after each epoch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"  # ROCm builds say "cuda" too
    train_x, train_y, test_x, test_y = (torch.from_numpy(part).to(device) for part in data)
    train_x, test_x = train_x.view(-1, 1, 8, 8), test_x.view(-1, 1, 8, 8)
    width = params["width"]
    network = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(params["dropout"]),
        nn.Linear(2 * width * 16, 10),
    ).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=params["rate"], momentum=0.9)
    for _ in range(epochs):
        network.train()
        for batch in torch.randperm(len(train_x), device=device).split(params["batch"]):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(train_x[batch]), train_y[batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            yield (network(test_x).argmax(1) == test_y).float().mean().item()


def train_sklearn(params: dict[str, Any], data: Data, epochs: int) -> Iterator[float]:
    """The same for a perceptron of one hidden layer; it has no dropout."""
    train_x, train_y, test_x, test_y = data
    network = MLPClassifier(
        hidden_layer_sizes=(8 * params["width"],),
        solver="sgd",
        learning_rate_init=params["rate"],
        batch_size=params["batch"],
    )
    for _ in range(epochs):
        for _ in range(4):  # its epochs are short
            network.partial_fit(train_x, train_y, classes=np.arange(10))
        yield float(network.score(test_x, test_y))


train: Callable[[dict[str, Any], Data, int], Iterator[float]]
train = train_torch if HAS_TORCH else train_sklearn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--trials", type=int, default=12)
    asked = parser.parse_args()
    data = load()

    def objective(trial: optuna.Trial) -> float:
        params = {
            "width": trial.suggest_int("width", 8, 32, step=8),
            "batch": trial.suggest_categorical("batch", [16, 32, 64]),
            "rate": trial.suggest_float("rate", 1e-4, 0.3, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        }
        accuracy = 0.0
        for epoch, accuracy in enumerate(train(params, data, asked.epochs)):
            print(f"epoch {epoch}: {accuracy:.1%} right", flush=True)
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"{accuracy:.1%} after epoch {epoch}")
        return accuracy

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    study.optimize(objective, n_trials=asked.trials)
    print(f"best: {study.best_value:.1%} right, with {study.best_params}")


if __name__ == "__main__":
    main()
