"""The losses of training and their gradients in NumPy; formulas in src/ops/loss.c."""

import numpy as np

from golden_ops import op

IGNORED = -100


def number(value, attrs):
    return np.array([value * np.float32(attrs.get("weight", 1.0))], np.float64)


def log_softmax(wide):
    shifted = wide - wide.max(1, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def targets(z, labels, attrs):
    """t like z, and which samples count, with an axis of 1 for the classes."""
    e, classes = np.float64(np.float32(attrs.get("label_smoothing", 0.0))), z.shape[1]
    shape = [1, classes] + [1] * (z.ndim - 2)
    hot = np.arange(classes).reshape(shape) == np.expand_dims(labels, 1)
    return (1 - e) * hot + e / classes, np.expand_dims(labels, 1) != IGNORED


@op("ed::CrossEntropyLoss")
def cross_entropy(x, attrs, opset):
    z, (t, counted) = x[0].astype(np.float64), targets(x[0], x[1], attrs)
    losses = -np.where(t == 0, 0, t * log_softmax(z))
    return number(np.where(counted, losses, 0).sum() / max(counted.sum(), 1), attrs)


@op("ed::CrossEntropyLossGrad")
def cross_entropy_grad(x, attrs, opset):
    z, (t, counted) = x[1].astype(np.float64), targets(x[1], x[2], attrs)
    dz = (np.exp(log_softmax(z)) - t) / max(counted.sum(), 1)
    return number(x[0].item(), attrs) * np.where(counted, dz, 0)


def logarithms(z, teacher, attrs):
    temperature = np.float64(np.float32(attrs.get("temperature", 1.0)))
    scaled = (v.astype(np.float64) / temperature for v in (z, teacher))
    return *map(log_softmax, scaled), temperature, max(z.size // max(z.shape[1], 1), 1)


@op("ed::DistillationLoss")
def distillation(x, attrs, opset):
    log_q, log_p, temperature, samples = logarithms(*x, attrs)
    p = np.exp(log_p)
    return number(temperature**2 * np.where(p == 0, 0, p * (log_p - log_q)).sum() / samples, attrs)


@op("ed::DistillationLossGrad")
def distillation_grad(x, attrs, opset):
    log_q, log_p, temperature, samples = logarithms(*x[1:], attrs)
    return number(x[0].item(), attrs) * temperature * (np.exp(log_q) - np.exp(log_p)) / samples


@op("ed::MeanSquaredError")
def mean_squared_error(x, attrs, opset):
    error = x[0].astype(np.float64) - x[1]
    return number((error**2).sum() / max(error.size, 1), attrs)


@op("ed::MeanSquaredErrorGrad")
def mean_squared_error_grad(x, attrs, opset):
    error = x[1].astype(np.float64) - x[2]
    return number(x[0].item(), attrs)[0] * 2 * error / max(error.size, 1)
