"""Several `repro run` at once: each run is trained once, the others wait for it or pass it over, nothing is doubled."""

import signal

import pytest
from faulty import RUN, Place
from holding import check_mlflow, journals, outcome, starts, statuses, trial, trials, wait_for

RACE = "Several processes on one state folder: each run trained once, MLflow whole"
FRESH = "Several processes make one new MLflow store: one whole store, each run trained once"
STALE = "A process killed while it trains: another one that waits takes over, same bits"
APART = "Two state folders, one MLflow store, one run: each has a run of its own there"
SEEDS = (*RUN, "--seeds", "0-1")


@pytest.mark.parametrize(("promise", "store", "processes"), [(RACE, True, 2), (FRESH, False, 4)])
@pytest.mark.parametrize("number", range(trials(1, 2, 10)))
def test_a_race(places, undisturbed, promise, store, processes, number):
    with trial(promise, f"{processes} processes, {number}") as detail:
        place = places("race", store=store)
        racers = [place.start(*SEEDS) for _ in range(processes)]
        ends = [place.ended(racer, within=300) for racer in racers]
        assert [code for code, _ in ends] == [0] * processes, ends
        assert set(starts(place.home).values()) == {1}
        detail["trained"] = [said.count("  trained  ") for _, said in ends]
        assert sum(detail["trained"]) == 2
        assert undisturbed(*RUN)[0].items() <= outcome(place.home).items()
        check_mlflow(place.home / "mlflow.db", place.home)


def test_the_one_that_waits_takes_over(places, undisturbed):
    with trial(STALE, "killed after its second epoch"):
        place = places("stale")
        first = place.start(point="checkpoint.renamed:2=sleep")
        wait_for(lambda: len(journals(place.home)) >= 2)
        second = place.start(*[word for word in RUN if word != "-q"], changes=[("times_nothing",)])
        wait_for(lambda: "another process is training it; waiting for that" in second.output.read_text())
        assert second.exitcode is None
        first.kill()
        code, said = place.ended(second)
        assert code == 0, said
        assert set(starts(place.home).values()) == {2}
        assert outcome(place.home) == undisturbed(*RUN)[0]
        check_mlflow(place.home / "mlflow.db", place.home)


def test_two_state_folders_share_a_store(places, undisturbed):
    """The same run in both, at the same time: neither writes into the other's."""
    with trial(APART, "side by side"):
        shared = places("shared")
        one, two = (places(name, store=False) for name in ("one", "two"))
        for place in (one, two):
            place.uri = f"sqlite:///{shared.home / 'mlflow.db'}"
        first = one.start(point="checkpoint.renamed:2=sleep")
        wait_for(lambda: len(journals(one.home)) >= 2 and statuses(shared.home / "mlflow.db", "run") == ["RUNNING"])
        two.run()
        assert statuses(shared.home / "mlflow.db", "run") == ["FINISHED", "RUNNING"]
        assert outcome(two.home) == undisturbed(*RUN)[0]
        first.kill()
        first.join()
        one.run()
        assert outcome(one.home) == undisturbed(*RUN)[0]
        assert statuses(shared.home / "mlflow.db", "run") == ["FINISHED"] * 2


@pytest.mark.skipif(not trials(0, 1), reason="two processes of one call; with REPRO_FAULTS=full")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_call_with_two_processes_is_ended(places, undisturbed, sign):
    with trial(STALE, f"--devices cpu,cpu, {sign.name}"):
        place: Place = places("pool")
        both = ("run", "tiny/first", "--profile", "quick", "--offline", "--concurrent", "2", "--seeds", "0-1", "-q")
        process = place.start(*both, "--device", "cpu", "--precision", "fp32")
        wait_for(lambda: len(journals(place.home)) >= 2)
        process.kill() if sign == signal.SIGKILL else process.terminate()
        code, said = place.ended(process)
        assert code == (130 if sign == signal.SIGTERM else -signal.SIGKILL), said
        place.run(*both, "--device", "cpu", "--precision", "fp32")
        assert undisturbed(*RUN)[0].items() <= outcome(place.home).items()
