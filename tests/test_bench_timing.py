"""Timing two arms in turn: order, warm-up, medians and ratios, by a clock of the test's own."""

import pytest

from repro.bench.timing import Timed, interleaved


class World:
    """A clock that arms move on, and what they did."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def arm(self, name, seconds):
        def run(number):
            self.log.append((name, number))
            self.now += seconds(number)

        return run


def test_arms_take_turns_and_every_pass_has_a_number_of_its_own():
    world = World()
    ours, theirs = world.arm("ours", lambda i: 1.0), world.arm("theirs", lambda i: 3.0)
    timed = interleaved(ours, theirs, repeats=3, least=0.5, clock=lambda: world.now)
    assert timed == Timed([1.0] * 3, [3.0] * 3)
    counted = world.log[4:]  # before: a pass for warmth and one for length, of each
    assert [name for name, _ in counted] == ["ours", "theirs"] * 3
    assert [number for name, number in world.log if name == "ours"] == [1, 2, 3, 4, 5]


def test_the_first_pass_does_not_count():
    world = World()
    slow_first = world.arm("ours", lambda i: 100.0 if i == 1 else 1.0)
    timed = interleaved(slow_first, world.arm("theirs", lambda i: 2.0), 2, least=1.0, clock=lambda: world.now)
    assert timed.ours == [1.0, 1.0]


def test_a_short_pass_is_made_until_a_timing_is_long_enough():
    world = World()
    short, long = world.arm("ours", lambda i: 0.25), world.arm("theirs", lambda i: 4.0)
    timed = interleaved(short, long, repeats=2, least=1.0, clock=lambda: world.now)
    assert timed == Timed([0.25] * 2, [4.0] * 2)  # seconds a pass all the same
    assert [name for name, _ in world.log[4:]] == (["ours"] * 4 + ["theirs"]) * 2


def test_the_ratio_is_the_median_over_pairs():
    """A disturbance that lasts a pair long leaves its ratio as it was."""
    timed = Timed(ours=[1.0, 10.0, 1.0], theirs=[4.0, 40.0, 5.0])
    assert timed.ratio == 4.0
    assert timed.spread == (4.0, 5.0)


def test_the_clock_is_this_threads_own_time():
    import time

    timed = interleaved(lambda i: time.sleep(0.01), lambda i: time.sleep(0.01), repeats=1, least=0.0)
    assert max(timed.ours + timed.theirs) < 0.01  # asleep, it takes none
    assert timed.ratio == pytest.approx(timed.theirs[0] / timed.ours[0])
