"""Joules of a run: summed over epochs and interruptions, known for all of it or not at all, never in the way."""

import ctypes
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_engine import PLAIN, a_run, options, small, train

from repro.run import execute, wiring
from repro.train import energy
from repro.train.energy import Meter, counter

CUDA = torch.device("cuda:0")


class Device:
    """A counter that moves on by so many joules from reading to reading."""

    def __init__(self, *steps):
        self.steps, self.total = list(steps), 1000.0

    def __call__(self):
        step = self.steps.pop(0) if self.steps else 0.0
        if step is None:
            return None
        self.total += step
        return self.total


def counted(path, numbers, *steps):
    meter = Meter(path, Device(0.0, *steps))
    for number in numbers:
        meter.epoch(number)
    return meter


def test_epochs_add_up_and_go_on_after_an_interruption(tmp_path):
    path = tmp_path / "energy.json"
    assert counted(path, (1, 2, 3), 10, 20, 30).joules(3) == 60
    resumed = counted(path, (4, 5), 5, 6)  # what the device took in between is not the run's
    assert resumed.joules(5) == 71
    assert resumed.joules(4) is None
    assert Meter(path, Device()).joules(5) == 71  # nothing was left to train


@pytest.mark.parametrize(
    ("numbers", "steps"),
    [((5,), (1,)), ((3,), (1,)), ((4, 5), (None, 1)), ((4, 5), (1, None)), ((4, 5), (-3, 1))],
    ids=["an epoch is missing", "one trained again", "not read", "not read at the end", "begun anew by the driver"],
)
def test_what_was_not_counted_throughout_is_not_known(tmp_path, numbers, steps):
    path = tmp_path / "energy.json"
    counted(path, (1, 2, 3), 10, 20, 30)
    assert counted(path, numbers, *steps).joules(numbers[-1]) is None


def test_a_training_from_its_first_epoch_does_not_ask_what_was_there(tmp_path):
    path = tmp_path / "energy.json"
    counted(path, (1, 2, 3), 10, 20, 30)
    assert counted(path, (1,), 7).joules(1) == 7


@pytest.mark.parametrize("text", ["", "[1]", "{}", "3", '["a", 2]', "[null, 2]", "[1e999, 2]", "\0", None])
def test_a_file_of_something_else_is_no_sum(tmp_path, text):
    path = tmp_path / "energy.json"
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    assert counted(path, (2,), 1).joules(2) is None
    assert counted(path, (1,), 1).joules(1) == (
        None if text is None else 1
    )  # a folder takes no sum, and no run is lost


class Driver:
    """NVML as ctypes sees it: statuses are returned, 0 for success, and values put where pointers say."""

    def __init__(self, fails=""):
        self.fails, self.asked = fails, None

    def nvmlInit_v2(self):
        return self.fails == "init"

    def nvmlDeviceGetHandleByUUID(self, name, handle):
        self.asked, handle._obj.value = name, 7
        return self.fails == "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, millijoules):
        assert handle.value == 7
        millijoules._obj.value = 2**40 + 500  # more than 32 bits
        return 3 if self.fails == "read" else 0


@pytest.mark.parametrize("fails", ["", "init", "handle", "read"])
def test_the_drivers_counter_is_read_in_joules_by_the_devices_own_id(monkeypatch, fails):
    driver = Driver(fails)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="ab-1"))
    assert counter(CUDA)() == (None if fails else 2**40 / 1000 + 0.5)
    assert driver.asked == (None if fails == "init" else b"GPU-ab-1")


def test_where_nothing_counts_nothing_is_known(monkeypatch):
    assert counter(torch.device("cpu"))() is None
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="ab-1"))
    monkeypatch.setattr(energy, "LIBRARY", "libnothing-of-the-kind.so")
    assert counter(CUDA)() is None
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())  # a driver too old for the counter
    assert counter(CUDA)() is None


def test_a_run_records_the_joules_of_all_its_epochs(tmp_path, monkeypatch):
    run = a_run(PLAIN)  # four epochs
    assert train(run, tmp_path / "cpu").energy_j is None
    monkeypatch.setattr(wiring, "counter", lambda device: Device(0, 1.5, 2, 3, 4))
    assert train(run, tmp_path / "whole").energy_j == 10.5
    assert execute(run, small(), replace(options(tmp_path / "shared"), shared=True)).energy_j is None  # of all of them
    assert train(run, tmp_path / "pieces", on_epoch=lambda e: e.epoch < 2) is None
    assert train(run, tmp_path / "pieces").energy_j == 1.5 + 2 + 1.5 + 2
