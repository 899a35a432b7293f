"""Places to break things in, undisturbed runs to compare with, and the log of trials."""

import shutil

import pytest


@pytest.fixture
def places(tmp_path, request):
    """Return a maker of places: `places("name", store=True)`, with an empty MLflow store unless told otherwise."""
    from faulty import Place

    made = []

    def make(name, store=True):
        place = Place(tmp_path / name)
        place.home.mkdir()
        if store:
            shutil.copy(request.getfixturevalue("mlflow_template"), place.home / "mlflow.db")
        made.append(place)
        return place

    yield make
    for place in made:
        place.stop()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, mlflow_template):
    """Return `undisturbed(*arguments)`: what that leaves in peace, how long it took, each made once."""
    import time

    from faulty import Place
    from holding import outcome

    known = {}

    def of(*arguments):
        if arguments not in known:
            place = Place(tmp_path_factory.mktemp("whole") / "place")
            place.home.mkdir()
            shutil.copy(mlflow_template, place.home / "mlflow.db")
            place.run("--version")  # the server of processes takes its time to start
            began = time.monotonic()
            place.run(*arguments)
            known[arguments] = outcome(place.home), time.monotonic() - began, place
        return known[arguments]

    return of
