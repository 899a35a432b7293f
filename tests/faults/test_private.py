"""What is written holds where a run comes from, and nothing private: no credential, variable, user, host or folder."""

import base64
import io
import json
import platform
import shlex
import sqlite3
import subprocess
import threading
import zipfile
from contextlib import closing
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import mlflow.cli
import numpy as np
import pytest
import torch
from faulty import RUN
from holding import trial

from repro import environment
from repro.errors import redacted
from repro.track import models, store, ui_command, ui_env
from repro.track.connection import import_mlflow

ROOT = Path(__file__).parents[2]
PROVENANCE = "A record holds where it comes from, as listed, and no more"
PRIVATE = "Nothing private in what is written: no credential, variable, user, host name or folder"
SAID = "No credential in what is said, also where things go wrong"

#: variables whose values nothing may hold, said or written
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws+canary/7Hq2Zk9wPt", "AWS_ACCESS_KEY_ID": "AKIACANARY41",
    "HF_TOKEN": "hf_canaryQw81Lm",
    "MLFLOW_TRACKING_USERNAME": "mlflow-user-canary", "MLFLOW_TRACKING_PASSWORD": "mlflow:canary@Kj5",
    "WANDB_API_KEY": "wandb-canary-0f3e", "MY_PRIVATE_THING": "thing canary 83", "SSH_AUTH_SOCK": "/run/ssh-canary/s",
    "USER": "janecanary", "LOGNAME": "janecanary", "USERNAME": "janecanary", "LNAME": "janecanary",
    "HOSTNAME": "host-canary-17", "HOST": "host-canary-17", "HOME": "/home/janecanary",
    # What a checkout's settings hold, as far as git is asked: a remote with a token in it, and who commits.
    "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "remote.origin.url",
    "GIT_CONFIG_VALUE_0": "https://janecanary:ghp_canary55@example.org/x.git",
    "GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "jane@canary.example",
}  # fmt: skip
CANARIES = {value for value in SECRETS.values() if len(value) >= 8} | {"ghp_canary55"} - {"remote.origin.url"}
#: the folder that everything lies in: a user may be told of it, and nothing that is written holds it
FOLDER = "jane-private-canary"
#: where MLflow itself needs the absolute path of a local folder: to find the artifacts
PATHS = {"experiments.artifact_location", "runs.artifact_uri", "logged_models.artifact_location"}


@cache
def spellings(word):
    """Return a word as it may stand in a file, in small letters: plain, percent-encoded, in hex, in base64."""
    plain = word.encode()
    found = {plain, quote(word, safe="").encode(), json.dumps(word)[1:-1].encode(), plain.hex().encode()}
    for offset in range(3):  # the letters that stand for the word alone, wherever it begins
        packed = base64.b64encode(bytes(offset) + plain)
        found.add(packed[(8 * offset + 5) // 6 : 4 * ((offset + len(plain)) // 3)])
    return {spelling.lower() for spelling in found}


def held(data, words):
    """Return which of the words some bytes hold, in any spelling and case."""
    lower = data.lower()
    return {word for word in words if any(spelling in lower for spelling in spellings(word))}


def inside(name, data):
    """Yield (name, bytes) of a file and of everything packed in it: archives, and a database's values one by one."""
    yield name, data
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from inside(f"{name}:{member}", archive.read(member))


def values(path):
    """Yield (table.column, bytes) of every value in a SQLite file: long ones lie in pieces in the file itself."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
            rows = db.execute(f'select * from "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    yield f"{table}.{column}", value if isinstance(value, bytes) else str(value).encode()


def leaks(folder, words, paths=()):
    """Return (place, word) of every word that a folder's files, their names included, hold.

    `paths`: words that a database may hold where MLflow keeps the places of artifacts, and nowhere else.
    """
    found = set()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, data = str(path.relative_to(folder)), path.read_bytes()
        database = data.startswith(b"SQLite format 3")
        for part, content in inside(name, name.encode() + b"\n" + data if database else data):
            found |= {(part, word) for word in held(content, words)}
            found |= set() if database else {(part, word) for word in held(content, paths)}
        found |= {(name, word) for word in held(name.encode(), {*words, *paths})}
        for column, value in values(path) if database else ():
            of = words if column in PATHS else {*words, *paths}
            found |= {(f"{name} {column}", word) for word in held(value, of)}
    return found


def hosts():
    """Return the name of this host, where it is one that would be found by chance nowhere."""
    return {platform.node()} - {"", "localhost"} if len(platform.node()) >= 6 else set()


def test_the_search_finds_what_is_planted(tmp_path):
    word = "aws+canary/7Hq2Zk9wPt"
    with trial(PRIVATE, "planted, and found"):
        for number, spelling in enumerate(sorted(spellings(word))):
            (tmp_path / f"plain-{number}").write_bytes(b"..." + spelling.swapcase() + b"...")
        for offset in range(3):
            (tmp_path / f"packed-{offset}").write_bytes(base64.b64encode(b"." * offset + word.encode() + b"..."))
        with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner", f"... {word}")
        with closing(sqlite3.connect(tmp_path / "db")) as db:
            db.execute("create table tags (key, value)")
            db.execute("create table runs (artifact_uri)")
            db.execute("insert into tags values ('k', ?)", ["x" * 4083 + word + "y" * 9000])
            db.execute("insert into runs values (?)", [f"/home/{FOLDER}/x"])
            db.commit()
        every = {path.name for path in tmp_path.iterdir()}
        assert {place.split(":")[0].split(" ")[0] for place, _ in leaks(tmp_path, {word})} == every
        assert leaks(tmp_path, set(), {FOLDER}) == set()  # where MLflow needs it
        (tmp_path / f"of-{FOLDER}").touch()
        assert {place for place, _ in leaks(tmp_path, set(), {FOLDER})} == {f"of-{FOLDER}"}


@pytest.fixture
def private(places):
    """Return a place below a folder with a name of its own, whose processes have secrets in their environment."""
    place = places(FOLDER)
    place.env = SECRETS
    return place


def test_nothing_private_is_written(private):
    """Trained, failed, exported, judged, looked at: every byte that is left of it, and all that was said."""
    place, reports, bundle = private, private.folder / "their-reports", private.folder / "bundle"
    run = (*RUN, "--reports", str(reports))
    with trial(PRIVATE, "a run, a failed one, a bundle, pages") as detail:
        place.dies_at("checkpoint.renamed:2", *run)
        said = [place.run(*run, code=1, changes=[("forgets", "nothing")])]
        assert "Traceback" in said[0]  # a failure that nothing is known of is shown in full
        said += [place.run("doctor"), place.run(*run)]
        for command in (
            ("status",), ("verify", str(place.home)), ("bundle", "export", str(bundle)),
            ("report", "--profile", "quick", "--reports", str(reports)),
        ):  # fmt: skip
            said.append(place.ended(place.start(*command))[1])
        assert {path.suffix for path in bundle.iterdir()} == {".json", ".jsonl", ".npz"}  # no lock, no list of starts
        assert list(place.home.rglob("report.md"))
        written = place.folder / "written"
        written.mkdir()
        for path in (place.home, bundle):
            path.rename(written / path.name)
        detail["files"] = sum(path.is_file() for path in written.rglob("*"))
        assert not reports.exists()  # no place of its own for a run that does not count
        assert leaks(written, CANARIES | hosts(), {FOLDER}) == set()
        assert held("\n".join(said).encode(), CANARIES) == set()
    with trial(PROVENANCE, "trained, and resumed twice"):
        (path,) = written.rglob("runs/*/record.json")
        check_provenance(json.loads(path.read_bytes()))


def check_provenance(record):
    """Assert that a record tells what it promises of where it comes from, truly, and nothing besides."""
    assert set(record) == {
        "run_key", "recipe_hash", "recipe", "report", "experiments", "seed", "fold", "profile", "data", "env",
        "env_class", "ledger", "command", "started", "seconds", "images_per_s", "energy_j", "state", "epochs_done",
        "curves", "finals", "confusion", "predictions", "resumed", "schema",
    }  # fmt: skip
    assert record["schema"] == 1
    assert set(record["data"]) == {"train", "test", "order"}
    assert record["command"] == shlex.join(["repro", *RUN, "--reports", "PATH"])
    env = record["env"]
    assert set(env) == {"device", "driver", "torch", "cuda", "python", "commit", "dirty", "diff"}
    assert (env["torch"], env["python"]) == (torch.__version__, platform.python_version())
    assert (env["driver"], env["cuda"]) == (None, None)  # it trained on the CPU
    assert env["device"].endswith("(1 threads)")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert env["commit"] == (head if (ROOT / ".git").exists() and head else "unknown")
    assert (env["diff"] is None) == (not env["dirty"])
    assert [set(again) for again in record["resumed"]] == [{"epoch", "started", "commit", "dirty"}] * 2
    assert [again["epoch"] for again in record["resumed"]] == [2, 2]
    for when in (record["started"], *(again["started"] for again in record["resumed"])):
        assert datetime.fromisoformat(when).tzinfo is not None


class Refuses(BaseHTTPRequestHandler):
    """A tracking server that lets nobody in."""

    def do_GET(self):
        """Refuse."""
        self.send_response(401)
        self.send_header("Content-Length", "11")
        self.end_headers()
        self.wfile.write(b"not for you")

    do_POST = do_GET

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def refusing():
    """Return the address of a server that lets nobody in."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["server", "database", "neither"])
def test_an_address_with_a_password_is_not_said(places, refusing, kind):
    """A server that refuses, a database that is not there, an address of neither kind, each with a password in it."""
    place = places("address", store=False)
    place.env = SECRETS
    place.uri = {
        "server": f"http://someuser-canary:password-canary-51@{refusing}",
        "database": "postgresql+psycopg://someuser-canary:password@canary-52@127.0.0.1:1/db?password=password-canary-53",
        "neither": "s3://someuser-canary:password%2Fcanary%4054@bucket/db?token=token-canary-9",
    }[kind]
    words = CANARIES | {"canary", "password@", "password%"}
    with trial(SAID, kind) as detail:
        for command in (RUN, ("doctor",), ("ui", "--port", "5999")):
            code, said = place.ended(place.start(*command))
            assert code in (1, 2)  # of a look around, and of a request that is refused
            assert "://***@" in said
            assert "Traceback" not in said
            assert held(said.encode(), words) == set()
            detail[command[0]] = said.splitlines()[0]
        assert leaks(place.home, words) == set()


def test_no_password_in_the_list_of_commands(tmp_path, monkeypatch):
    """MLflow's own server finds a database by its environment, which no other user of the machine can read."""
    address = "postgresql://jane:password-canary-55@host/db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with trial(SAID, "the command that serves MLflow's pages"):
        assert held("\n".join(ui_command(tmp_path)).encode(), {"canary"}) == set()
        for name, value in ui_env(store.locate(tmp_path)).items():
            monkeypatch.setenv(name, value)
        taken = mlflow.cli.server.make_context("server", ["--port", "5999"]).params
        assert taken["backend_store_uri"] == address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://jane:secret@host:5000/x", "http://***@host:5000/x"),
        ("https://jane@host/x and https://t:k@b", "https://***@host/x and https://***@b"),
        ("postgresql+psycopg://jane:p@ss/w@rd@host/db", "postgresql+psycopg://***@host/db"),
        ("connecting to 'mysql://u:p@h/d?ssl=1'", "connecting to 'mysql://***@h/d?ssl=1'"),
        ("postgresql:///db?user=jane&password=secret&x=1", "postgresql:///db?user=***&password=***&x=1"),
        ("http://h/?Token=abc#d", "http://h/?Token=***"),
        ("sqlite:////folder/mlflow.db", "sqlite:////folder/mlflow.db"),
        ("http://host:5000/path, me@example.org", "http://host:5000/path, me@example.org"),
    ],
)
def test_what_is_hidden_of_an_address(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("address", "text", "shown"),
    [
        ("mysql://jane:p@ss%2Fw@host/db", "no host 'ss%2Fw@host'", "no host '***@host'"),
        ("mysql://jane:p@ss%2Fw@host/db", "no host 'ss/w@host' for jane, passed", "no host '***@host' for ***, passed"),
        ("postgresql+psycopg://u@host/db", "u: unknown user u of host", "***: unknown user *** of host"),
        ("http://host:5000", "host does not answer", "host does not answer"),
        ("sqlite:////folder/mlflow.db", "folder/mlflow.db is locked", "folder/mlflow.db is locked"),
    ],
)
def test_what_a_reader_of_an_address_may_say_of_it_is_hidden(address, text, shown):
    assert redacted(text, address) == shown


@pytest.mark.parametrize(
    ("arguments", "held"),
    [
        (["run", "chen2024/resnet68", "--seeds", "0-2", "-q"], "repro run chen2024/resnet68 --seeds 0-2 -q"),
        (["run", "--all", "--reports", "/home/jane/my reports"], "repro run --all --reports PATH"),
        (["run", "--all", "--reports=~jane/reports"], "repro run --all --reports=PATH"),
        (["run", "--all", "--reports", "../jane/reports"], "repro run --all --reports PATH"),
        (["run", "--all", "--reports", "a/../../jane"], "repro run --all --reports PATH"),
        (["run", "--all", "--reports", "reports"], "repro run --all --reports reports"),
        (["run", "http://jane:secret@host/x"], "repro run 'http://***@host/x'"),
        (["run", "--ray-address", "10.0.0.5:6379", "--all"], "repro run --ray-address HOST --all"),
        (["run", "--ray-address=gpu.lab:6379", "--all"], "repro run --ray-address=HOST --all"),
        (["run", "--ray-address", "auto", "--all"], "repro run --ray-address auto --all"),
    ],
)
def test_the_call_as_a_record_holds_it(arguments, held):
    assert environment.command(arguments) == held


def test_a_logged_model_names_no_folder_of_its_maker(tmp_path, home):
    """An exported program keeps, for its reader, the lines of code behind each operation: not ours."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10)).eval()
    images = np.zeros((2, 3, 32, 32), np.float32)
    with trial(PRIVATE, "a logged model"):
        exported = io.BytesIO()
        torch.export.save(torch.export.export(network, (torch.from_numpy(images),)), exported)
        places = {str(ROOT), str(Path(torch.__file__).parents[1])}
        (tmp_path / "as-exported").mkdir()
        (tmp_path / "as-exported" / "model.pt2").write_bytes(exported.getvalue())
        assert leaks(tmp_path / "as-exported", places)
        mlflow = import_mlflow()
        models._save(mlflow, tmp_path / "saved", "m-0", "0" * 32, network, images)
        assert leaks(tmp_path / "saved", places | hosts()) == set()
        loaded = mlflow.pytorch.load_model(str(tmp_path / "saved"))
        torch.testing.assert_close(loaded(torch.ones(2, 3, 32, 32)), network(torch.ones(2, 3, 32, 32)))
