"""Resize and Upsample in NumPy: a matrix for each axis; see golden_ops.py."""

import math

import numpy as np

from golden_ops import op


# ---- resampling ----
class Resampling:
    """Sizes and scales of Resize (opset 10 on) and Upsample, and one axis at a time."""

    def __init__(self, x, attrs, opset, upsample):
        self.attrs, self.x, early = attrs, x[0], upsample or opset < 11
        self.mode, self.where = attrs.get("mode", "nearest"), attrs.get("coordinate_transformation_mode", "half_pixel")
        self.nearest = attrs.get("nearest_mode", "round_prefer_floor")
        if early:
            self.where, self.nearest = "asymmetric", "simple"
        scales = attrs["scales"] if upsample and opset < 9 else x[1] if early else x[2] if len(x) > 2 else None
        sizes = x[3] if len(x) > 3 else None
        self.axes = [a % self.x.ndim for a in attrs.get("axes", range(self.x.ndim))]
        self.roi = x[1].reshape(2, -1) if self.where == "tf_crop_and_resize" else np.zeros((2, len(self.axes)), np.float32) + [[0], [1]]
        self.resolve(scales, sizes)

    def resolve(self, scales, sizes):
        shape = np.array([self.x.shape[a] for a in self.axes])
        policy = self.attrs.get("keep_aspect_ratio_policy", "stretch")
        if scales is not None and len(scales):
            self.scales = np.asarray(scales, np.float32)
            self.sizes = np.floor((shape * (self.roi[1] - self.roi[0])).astype(np.float32) * self.scales).astype(int)
        elif policy == "stretch":
            self.sizes, self.scales = np.asarray(sizes), np.float32(sizes) / np.float32(shape)
        else:
            one = (min if policy == "not_larger" else max)(np.float32(sizes) / np.float32(shape))
            self.scales = np.full(len(shape), one, np.float32)
            self.sizes = np.floor(np.float32(shape) * one + np.float32(0.5)).astype(int)

    def place(self, o, n, out, scale, roi):
        """In float32: nearest modes depend on the last bit."""
        o, n, out, half = np.float32(o), np.float32(n), np.float32(out), np.float32(0.5)
        half_pixel = (o + half) / scale - half
        return {
            "half_pixel": lambda: half_pixel,
            "align_corners": lambda: np.float32(0) if out == 1 else o * (n - 1) / (out - 1),
            "asymmetric": lambda: o / scale,
            "pytorch_half_pixel": lambda: half_pixel if out > 1 else np.float32(0),
            "half_pixel_symmetric": lambda: n / 2 * (1 - out / (scale * n)) + half_pixel,
            "tf_half_pixel_for_nn": lambda: (o + half) / scale,
            "tf_crop_and_resize": lambda: roi[0] * (n - 1) + o * (roi[1] - roi[0]) * (n - 1) / (out - 1)
            if out > 1
            else half * (roi[0] + roi[1]) * (n - 1),
        }[self.where]()

    def round(self, p, scale):
        return int({
            "round_prefer_floor": lambda: np.ceil(p - np.float32(0.5)),
            "round_prefer_ceil": lambda: np.floor(p + np.float32(0.5)),
            "floor": lambda: np.floor(p),
            "ceil": lambda: np.ceil(p),
            "simple": lambda: np.ceil(p) if scale < 1 else np.trunc(p),
        }[self.nearest]())

    def kernel(self, t):
        t, a = abs(t), self.attrs.get("cubic_coeff_a", -0.75)
        if self.mode == "linear":
            return max(0.0, 1 - t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    def weights(self, o, n, out, scale, roi):
        """The row of the matrix [out, n] that resamples one axis; None outside of a crop."""
        p, row = self.place(o, n, out, scale, roi), np.zeros(n)
        if self.where == "tf_crop_and_resize" and not 0 <= p <= n - 1:
            return None
        if self.mode == "nearest":
            row[min(max(self.round(p, scale), 0), n - 1)] = 1
            return row
        squeeze = min(float(scale), 1.0) if self.attrs.get("antialias") else 1.0
        reach = math.ceil((1 if self.mode == "linear" else 2) / squeeze) + 1
        for at in range(math.floor(p) - reach, math.floor(p) + reach + 1):
            if 0 <= at < n or not self.attrs.get("exclude_outside"):
                row[min(max(at, 0), n - 1)] += self.kernel(squeeze * (at - float(p)))
        return row / row.sum()

    def run(self):
        y = self.x
        for k, axis in enumerate(self.axes):
            n, out = y.shape[axis], int(self.sizes[k])
            if out == n and self.scales[k] == 1 and self.where != "tf_crop_and_resize":
                continue
            rows = [self.weights(o, n, out, self.scales[k], np.float32(self.roi[:, k])) for o in range(out)]
            moved = np.moveaxis(y, axis, 0)
            if self.mode == "nearest" and None not in [None if r is None else 0 for r in rows]:
                y = np.moveaxis(moved[[int(r.argmax()) for r in rows]] if out else moved[:0], 0, axis)
                continue
            fill = np.full(moved.shape[1:], self.attrs.get("extrapolation_value", 0.0))
            parts = [fill if r is None else np.tensordot(r, moved.astype(np.float64), 1) for r in rows]
            y = np.moveaxis(np.stack(parts), 0, axis)
        return y


@op("Resize")
def resize(x, attrs, opset):
    return Resampling(x, attrs, opset, upsample=False).run()


@op("Upsample")
def upsample(x, attrs, opset):
    return Resampling(x, attrs, opset, upsample=True).run()
