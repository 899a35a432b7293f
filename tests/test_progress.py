"""What is shown while runs are trained: time left as arithmetic, bars on a terminal, plain lines elsewhere, quiet."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner
from command_line import SMALL
from rich.console import Console

from repro.cli import main
from repro.execute import local
from repro.progress import training
from repro.progress.bars import Bars
from repro.progress.pace import Pace, SuitePace, span
from repro.record import Entry
from repro.spec.identity import runs_of
from repro.spec.loading import load_all

ROOT = Path(__file__).parents[1]
SMOKE = ("run", "--all", "--profile", "smoke", "--device", "cpu", "--offline")
CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def two_runs():
    report = load_all(ROOT / "experiments")["chen2024"]
    return runs_of(report, list(report.experiments.values())[:1], [0, 1], "data", "full")


def entry(epoch, loss, test):
    return Entry(epoch, {"train/loss": loss, "train/acc_pct": 50.0, "test/acc_pct": test, "time/epoch_s": 2.0}, {}, 0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3570, "1 h 0 min"), (3_540, "59 min"),
        (19_200, "5 h 20 min"), (47.9 * 3600, "47 h 54 min"), (76 * 3600, "3 days 4 h"),
    ],
)  # fmt: skip
def test_a_span_in_words(seconds, words):
    assert span(seconds) == words


def test_time_left_is_what_remains_at_the_rate_so_far():
    clock = Clock()
    pace = Pace(clock)
    clock.now += 1000  # set-up counts for nothing
    pace.reach(0.1)
    assert pace.left() is None
    clock.now += 10
    pace.reach(0.3)
    assert pace.left() == pytest.approx(0.7 * 10 / 0.2)


def test_time_left_of_a_suite_weighs_runs_by_their_work():
    clock = Clock()
    suite = SuitePace({"a": 300.0, "b": 100.0, "c": 100.0}, seconds=True, workers=2, clock=clock)
    assert suite.left() == 250  # as forecast, on two devices
    suite.reach("a", 0.0)
    clock.now += 60
    suite.reach("a", 0.5)  # 150 units of work in 60 s
    assert suite.left() == pytest.approx(350 * 60 / 150)
    suite.close("b")  # failed: nothing more comes of it
    assert suite.left() == pytest.approx(250 * 60 / 150)
    assert suite.done == pytest.approx(0.5)
    assert SuitePace({"a": 3.0}).left() is None
    assert SuitePace({}).done == 1


def test_bars_show_run_epoch_step_speed_loss_accuracy_and_time_left(two_runs):
    run, other = two_runs
    out = io.StringIO()
    bars = Bars(Console(file=out, force_terminal=True, width=100, height=30))

    def shown():
        out.truncate(out.seek(0))
        bars.bars.refresh()
        return CODE.sub("", out.getvalue())

    with bars:
        bars.plan({run.key: 50.0, other.key: 50.0}, True, 1)
        bars.begin(run, 1, 2)
        assert "all runs" in shown()
        assert "0/2 runs" in shown()
        assert "2 min left" in shown()  # 100 s, as forecast
        bars.train(run.key, 10, 50)
        assert "epoch 11/50" in shown()
        bars.step(run.key, 1, 782)
        assert "step 1/782" in shown()
        bars.step(run.key, 2, 782)  # within the same quarter of a second: not shown
        assert "step 1/782" in shown()
        bars.step(run.key, 782, 782)
        assert "measuring" in shown()
        assert "images/s" in shown()
        bars.epoch(run.key, entry(11, 1.25, 61.5), 50)
        assert re.search(r"loss 1\.2500 +test 61\.50 %", shown())
        assert "epoch 12/50" in shown()
        assert " left" in shown()
        bars.note(run.key, "not in MLflow yet: [down]", problem=True)
        bars.end(run.key, "trained", "finished: test 61.50 %")
        bars.begin(other, 2, 2)
        assert "1/2 runs" in shown()
        bars.end(other.key, "failed", "failed: RuntimeError: [x]")
        assert "2/2 runs" in shown()
    text = CODE.sub("", out.getvalue())
    assert text.count("\n") < 30


def test_bars_keep_finished_runs_as_lines_and_brackets_as_they_are(two_runs):
    out = io.StringIO()
    with Bars(Console(file=out, force_terminal=True, width=100)) as bars:
        bars.plan({}, True, 1)
        bars.begin(two_runs[0], 1, 1)
        bars.note(two_runs[0].key, "not in MLflow yet: [red]down[/red]", problem=True)
        bars.end(two_runs[0].key, "failed", "failed: KeyError: [x]")
    text = CODE.sub("", out.getvalue())
    assert "chen2024/resnet68 s0: not in MLflow yet: [red]down[/red]" in text
    assert "chen2024/resnet68 s0: failed: KeyError: [x]" in text


def test_lines_name_the_run_where_several_are_trained_at_once(two_runs):
    said = []
    lines = training.Lines(said.append)
    lines.begin(two_runs[0], 1, 2)
    lines.epoch(two_runs[0].key, entry(3, 1.0, 60.0), 50)
    lines.plan({}, False, 2)
    lines.epoch(two_runs[0].key, entry(4, 0.5, 61.0), 50)
    assert said[1:] == [
        "    epoch 3/50  train 50.00 %  test 60.00 %  loss 1.0000  2.0 s",
        "    chen2024/resnet68 s0: epoch 4/50  train 50.00 %  test 61.00 %  loss 0.5000  2.0 s",
    ]


def test_lines_name_the_run_where_another_ones_turn_has_come_or_runs_share_a_device(two_runs):
    said = []
    lines = training.Lines(said.append)
    for number, run in enumerate(two_runs, 1):
        lines.begin(run, number, 2)
    lines.note(two_runs[0].key, "not in MLflow yet: down", problem=True)
    lines.note(two_runs[1].key, "its own")
    lines.plan({}, False, 1, beside=2)
    lines.note(two_runs[1].key, "beside the other")
    assert said[2:] == [
        f"    {two_runs[0].name}: not in MLflow yet: down", "    its own", f"    {two_runs[1].name}: beside the other",
    ]  # fmt: skip


class Tty(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stdout", "env", "bars"),
    [
        (Tty, {"TERM": "xterm-256color"}, True),
        (Tty, {"TERM": "xterm-256color", "NO_COLOR": "1"}, True),  # no colours; bars are not colours
        (Tty, {"TERM": "dumb"}, False),
        (io.StringIO, {"TERM": "xterm-256color"}, False),
        (io.StringIO, {"TERM": "xterm-256color", "FORCE_COLOR": "1"}, False),
    ],
)
def test_bars_only_where_lines_can_be_redrawn(monkeypatch, stdout, env, bars):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", stdout())
    assert isinstance(training.display(print), Bars) == bars
    assert type(training.display(print, quiet=True)) is training.Quiet


def test_a_log_has_no_escape_codes(place, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = CliRunner().invoke(main, SMOKE).output
    assert "\x1b" not in out
    assert "[2/2] tiny/second s0 (smoke, " in out
    assert re.search(r"^    epoch 1/1  train \S+ %  test \S+ %  loss \S+  \S+ s$", out, re.MULTILINE)
    assert re.search(r"^tiny/first s0 +smoke +trained +\S+ % +50.0 % +\d+ s$", out, re.MULTILINE)
    assert re.search(r"^tiny/second s0 +smoke +trained +\S+ % +\d+ s$", out, re.MULTILINE)
    assert "`repro report --profile smoke`" in out
    assert "`repro status`" in out


def test_quiet_prints_failures_and_the_table(place, monkeypatch):
    train = local.runner.execute

    def fail(run, *rest):
        if run.experiments == ("first",):
            raise RuntimeError("the disk fell off")
        return train(run, *rest)

    monkeypatch.setattr(local.runner, "execute", fail)
    result = CliRunner().invoke(main, [*SMOKE, "-q"])
    assert result.exit_code == 1
    lines = [line for line in result.stdout.splitlines() if line]
    assert lines[0] == "tiny/first s0: failed: RuntimeError: the disk fell off"
    assert lines[1].split() == ["run", "profile", "state", "test", "published", "time"]
    assert lines[-1] == "1 trained, 1 failed"
    assert len(lines) == 6


class Terminal:
    """`repro ...` on a pseudo-terminal of 100 x 30."""

    def __init__(self, *arguments):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
            env.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "repro", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env
        )
        os.close(theirs)
        self.raw = b""

    def read(self, until=None):
        """Read up to a text, or to the end."""
        while until is None or until not in self.raw:
            try:
                self.raw += os.read(self.ours, 65536)
            except OSError:  # Linux: the other side is closed
                break
        return CODE.sub("", self.raw.decode())

    def close(self):
        os.close(self.ours)
        return self.process.wait(60)


def test_a_terminal_shows_bars_then_lines_then_a_table(place):
    terminal = Terminal(*SMOKE)
    text = terminal.read()
    assert terminal.close() == 0
    assert "2 runs of 2 experiments: 2 to train, 0 to resume, 0 done before" in text
    for shown in ("all runs", "0/2 runs", "epoch 1/1", "measuring", "images/s", "1/2 runs", "2/2 runs"):
        assert shown in text, shown
    assert re.search(r"loss \d\.\d{4} +test \d+\.\d\d %", text)
    assert "✓ tiny/first s0: finished: test" in text
    assert "✓ tiny/second s0: finished: test" in text
    assert re.search(r"│ tiny/first s0 +│ smoke +│ trained +│ +\S+ % │ +50.0 % │ +\d+ s │", text)
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")  # the cursor is back


def test_an_interrupt_leaves_the_terminal_sane(place):
    (place / "experiments" / "tiny.yaml").write_text(SMALL.replace("widths: [8, 16]", "widths: [64, 64]"))
    terminal = Terminal(*SMOKE)
    terminal.read(until=b"epoch 1/1")
    terminal.process.send_signal(signal.SIGINT)
    text = terminal.read()
    assert terminal.close() == 130
    assert text.rstrip().endswith("goes on at the last finished epoch")
    assert "Traceback" not in text
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")


def test_a_terminal_without_the_bars_characters_gets_plain_lines(place, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    terminal = Terminal(*SMOKE)
    text = terminal.read()
    assert terminal.close() == 0
    assert "epoch 1/1  train" in text
    assert "Traceback" not in text
