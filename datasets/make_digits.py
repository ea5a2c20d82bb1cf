#!/usr/bin/env python3
"""Write the handwritten digits as HDF5: make_digits.py [OUTDIR]

Needs numpy, h5py and scikit-learn, whose copy of the "Optical Recognition of Handwritten
Digits" it splits at random (fixed seed) into

  digits_train.h5   1,197 pictures
  digits_calib.h5   200 pictures, every one of them also in digits_train.h5
  digits_test.h5    600 pictures that are in none of the others

each with

  input    uint8 [N, 1, 8, 8], values 0 to 16; attributes mean, std, layout
  labels   int64 [N], the digit
  the root attribute model = "digits.onnx"
"""
import pathlib
import sys

import h5py
import numpy as np
from sklearn.datasets import load_digits

TRAIN, CALIB, TEST = 1197, 200, 600


def write(path, images, labels, mean, std):
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        file.attrs["model"] = "digits.onnx"
        data = file.create_dataset("input", data=images, chunks=(min(200, len(images)), 1, 8, 8),
                                   compression="gzip", compression_opts=9, track_times=False)
        data.attrs["mean"], data.attrs["std"], data.attrs["layout"] = mean, std, "NCHW"
        file.create_dataset("labels", data=labels, track_times=False)
    print(path, images.shape)


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__)
    out = out if out.is_dir() else out.parent
    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:TRAIN], order[TRAIN:TRAIN + TEST]
    mean, std = np.float32(images[train].mean()), np.float32(images[train].std())
    for name, rows in (("train", train), ("calib", train[:CALIB]), ("test", test)):
        write(out / f"digits_{name}.h5", images[rows], labels[rows], mean, std)


if __name__ == "__main__":
    main()
