"""What a process is changed to before it becomes `repro`: small data, a full disk, a clock that jumps, another user."""

import os
import time
from collections import Counter
from dataclasses import replace

import torch

import repro.plots
from repro.data import cifar10, sample


def starts_small(images=100, tests=40):
    """Put a hundred real images in the place of CIFAR-10, and draw no pictures: they would take most of the time."""
    data = sample.load()
    few = replace(
        data, x_train=data.x_train[::15][:images], y_train=data.y_train[::15][:images],
        x_test=data.x_test[::12][:tests], y_test=data.y_test[::12][:tests],
    )  # fmt: skip
    cifar10.load = lambda home: few
    for name in ("confusion_png", "curves_png"):
        setattr(repro.plots, name, lambda *_: b"png")


def forgets(what):
    """Let checkpoints lose a part of an optimizer's state: its moments, or its count of steps."""
    from repro.train import checkpoint

    load = checkpoint.load

    def forgetful(folder):
        if (found := load(folder)) is not None:
            for state in found[1]["optimizer"]["state"].values():
                state[what].zero_()
        return found

    checkpoint.load = forgetful


def jumps_back(seconds):
    """Set the clock back at every second look at it."""
    now, looks = time.time, Counter()

    def earlier():
        looks["all"] += 1
        return now() - seconds * ((looks["all"] + 1) // 2)

    time.time = earlier


def sees_room():
    """Believe that there is room on every disk, so that one fills up while a run trains."""
    import shutil

    usage = shutil.disk_usage
    shutil.disk_usage = lambda path: usage(path)._replace(free=10**12)


def times_nothing():
    """Begin without timing the networks first."""
    import repro.suite.forecasting

    repro.suite.forecasting.calibrate = lambda *_, **__: {}


def slow_epochs(seconds):
    """Let an epoch last longer, so that there is time for something to happen in it."""
    from repro.train.step import Stepper

    prepare = Stepper.prepare

    def slow(self, *rest):
        time.sleep(seconds)
        return prepare(self, *rest)

    Stepper.prepare = slow


def runs_out_of_memory(step):
    """Let the device's memory be full at a step."""
    from repro.train.step import Stepper

    whole, steps = Stepper.step, Counter()

    def full(self, *rest):
        steps["all"] += 1
        if steps["all"] == step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
        return whole(self, *rest)

    Stepper.step = full


def as_nobody(uid=65534):
    """Become a user whom modes of files bind."""
    os.setgid(uid)
    os.setuid(uid)
