"""The bound: what filter and features cost in a compiled loop. Needs a C compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from edge_agent.stages.filters.bank import ALPHAS, BETAS

ROWS: Final = 60
REPEATS: Final = 20
REFERENCE_RATE: Final = 131_552_100
"""Readings per second of a Kalman filter with four features in C on another machine, where there is no compiler."""
# The three small filters, their mean, the energies of their errors, and features, channel by channel.
SOURCE: Final = """
#include <math.h>
void run(const double *in, double *out, double *features, int channels, int rows, const double *a, const double *b)
{
    for (int c = 0; c < channels; c++) {
        double l[3], s[3] = {0, 0, 0}, e2[3] = {0, 0, 0};
        double sum = 0, square = 0, slope = 0, low = in[c], high = in[c], rough = 0, before = 0;
        for (int f = 0; f < 3; f++) l[f] = in[c];
        for (int r = 0; r < rows; r++) {
            double v = in[r * channels + c], shown = 0;
            for (int f = 0; f < 3; f++) {
                double e = v - l[f] - s[f];
                l[f] += s[f] + a[f] * e;
                s[f] += b[f] * e;
                e2[f] += e * e;
                shown += l[f];
            }
            shown = rint(shown * (100.0 / 3.0)) / 100.0;
            out[r * channels + c] = shown;
            double rise = shown - in[c];
            sum += rise; square += rise * rise; slope += rise * r;
            low = shown < low ? shown : low; high = shown > high ? shown : high;
            rough += (rise - before) * (rise - before); before = rise;
        }
        double *f = features + 6 * c;
        f[0] = sum / rows; f[1] = sqrt(fabs(square / rows - f[0] * f[0])); f[2] = low; f[3] = high;
        f[4] = slope - sum * (rows - 1) / 2; f[5] = sqrt(rough / rows) + e2[0] + e2[1] + e2[2];
    }
}
"""


def c_rate(channels: int) -> float | None:
    """Readings per second of CPU, in blocks of ROWS; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        source, library = Path(directory, "loop.c"), Path(directory, "loop.so")
        source.write_text(SOURCE, encoding="utf-8")
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"]
        subprocess.run(command, check=True)
        run = ctypes.CDLL(str(library)).run
    readings = np.random.default_rng(1).normal(20.0, 0.02, (ROWS, channels))
    out, features = np.empty_like(readings), np.empty((channels, 6))
    gains = [np.array(each) for each in (ALPHAS, BETAS)]
    pointers = [ctypes.c_void_p(each.ctypes.data) for each in (readings, out, features, *gains)]
    best_s = float("inf")
    for _ in range(REPEATS):
        before = time.perf_counter()
        for _ in range(10):
            run(*pointers[:3], channels, ROWS, *pointers[3:])
        best_s = min(best_s, (time.perf_counter() - before) / 10)
    return ROWS * channels / best_s
