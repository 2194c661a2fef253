"""A push sends what it says it sends, to whom it says, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from typer.testing import CliRunner

from cai.cli import app
from cai.errors import CaiError
from cai.export.run_export import export_run
from cai.microworld import MODEL
from cai.pipeline.folder import RunFolder
from cai.publishing.gather import gather
from cai.publishing.hub import Target, push
from cai.publishing.publication import Publication
from cai.publishing.secret_scan import has_secret
from cai.redaction import note_secret
from tests.hub_server import HubServer, Repository, hub_server
from tests.published_run import published_run

# The client itself uploads bytes in a way that httpx2 2.16 wants done otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")

ANNA = Target("anna/demo")
KEY = "sk-" + "ant-api03-abcdefghijklmnop1234"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return published_run(tmp_path / "run")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    # Xet's own protocol has no stand-in; without it the client takes LFS, as the hub allows.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with hub_server() as server:
        yield server


def client(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


def data_of(run: Path) -> Publication:
    return gather(RunFolder(run), "data")


def trained(run: Path, name: str = "rl_cai", **more: str) -> Path:
    """A model of the run, with all that lies beside one."""
    folder = run / "models" / name
    (folder / "checkpoint-20").mkdir(parents=True)
    record = {
        "kind": "rl",
        "models": {"policy": {"name": "ORG/base", "digest": "ab"}},
        "data": {"name": "rl/train", "hash": "cd"},
        "rows": 5,
        "dropped": {},
        "truncated": 0,
        "settings": {},
        "metrics": {},
        "versions": {},
    }
    files = {
        "training.json": json.dumps(record),
        "config.json": "{}",
        "model.safetensors": "weights",
        "optimizer.pt": "state",
        "training_log.jsonl": "{}",
        "checkpoint-20/model.safetensors": "weights",
    }
    for path, text in {**files, **more}.items():
        (folder / path).write_text(text)
    return folder


def test_without_go_nothing_is_asked_of_the_hub(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    told = CliRunner().invoke(app, ["push", str(run), "anna/demo"])

    assert told.exit_code == 0, told.output
    assert "to the private dataset anna/demo, license cc-by-4.0" in told.output
    assert "nothing was sent; the same command with --go sends it" in told.output


def test_every_file_is_told_with_its_size_and_hash(run: Path):
    told = CliRunner().invoke(app, ["push", str(run), "anna/demo"]).output

    for name in ("sft/train", "sft/test", "preferences/train"):
        content = (run / "datasets" / name / "data.parquet").read_bytes()
        line = f"{len(content):>12,}  {hashlib.sha256(content).hexdigest()}  {name}/data.parquet"
        assert line in told


def test_ledger_logs_metrics_and_empty_splits_are_not_among_them(run: Path):
    paths = [one.path for one in data_of(run).files]

    assert [path for path in paths if not path.startswith("made_with/")] == [
        "README.md",
        "preferences/train/data.parquet",
        "sft/test/data.parquet",
        "sft/train/data.parquet",
    ]
    assert "made_with/constitution.yaml" in paths and "made_with/recipe.yaml" in paths


def test_a_push_makes_a_private_repository_with_the_files_byte_for_byte(run: Path, hub: HubServer):
    publication = data_of(run)

    url = push(publication, ANNA, client(hub))

    repository = hub.repositories["datasets/anna/demo"]
    assert url == f"{hub.url}/datasets/anna/demo/commit/1"
    assert repository.private
    assert repository.files == {one.path: one.file.read_bytes() for one in publication.files}


def test_public_is_only_what_was_asked_to_be_so(run: Path, hub: HubServer):
    push(data_of(run), Target("anna/demo", is_public=True), client(hub))

    assert not hub.repositories["datasets/anna/demo"].private


@pytest.mark.parametrize("private", [True, False])
def test_a_repository_that_others_see_otherwise_than_asked_for_gets_nothing(
    run: Path, hub: HubServer, private: bool
):
    hub.repositories["datasets/anna/demo"] = Repository(private)

    with pytest.raises(CaiError, match=r"is there and (private|public), not"):
        push(data_of(run), Target("anna/demo", is_public=private), client(hub))

    assert hub.repositories["datasets/anna/demo"].files == {}


def test_the_same_push_again_sends_nothing(run: Path, hub: HubServer):
    push(data_of(run), ANNA, client(hub))
    asked = len(hub.asked)

    push(data_of(run), ANNA, client(hub))

    assert hub.repositories["datasets/anna/demo"].commits == 1
    assert not [one for one in hub.asked[asked:] if one.startswith("PUT") or "/commit/" in one]


def test_a_push_again_sends_what_has_changed_alone(tmp_path: Path, hub: HubServer):
    push(data_of(published_run(tmp_path / "a")), ANNA, client(hub))
    asked = len(hub.asked)

    push(data_of(published_run(tmp_path / "b", said="another reply")), ANNA, client(hub))

    assert hub.repositories["datasets/anna/demo"].commits == 2
    sent = {one for one in hub.asked[asked:] if one.startswith("PUT")}
    assert len(sent) == 1  # train and test of sft hold the same row, so the same bytes


def test_a_model_is_sent_without_checkpoints_logs_and_records(run: Path, hub: HubServer):
    trained(run)

    push(gather(RunFolder(run), "rl_cai"), ANNA, client(hub))

    files = hub.repositories["models/anna/demo"].files
    own = {path for path in files if not path.startswith("made_with/")}
    assert own == {"README.md", "config.json", "model.safetensors"}
    assert b"license: cc-by-4.0" in files["README.md"]


def test_an_adapter_of_a_folder_here_is_refused_with_the_way_to_merge_it(
    run: Path, tiny_model: Path
):
    config = json.dumps({"base_model_name_or_path": str(tiny_model), "peft_type": "LORA"})
    more = {"adapter_config.json": config, "adapter_model.safetensors": "weights"}
    folder = trained(run, **more)
    for whole in ("config.json", "model.safetensors"):
        (folder / whole).unlink()

    with pytest.raises(CaiError, match=r"merge it first with: python -m trainers\.adapters"):
        gather(RunFolder(run), "rl_cai")


@pytest.mark.parametrize("base", ["/home/anna/gone", "~/gone"])
def test_an_adapter_of_a_folder_that_is_not_here_is_refused_too(run: Path, base: str):
    config = json.dumps({"base_model_name_or_path": base, "peft_type": "LORA"})
    more = {"adapter_config.json": config, "adapter_model.safetensors": "weights"}
    folder = trained(run, **more)
    for whole in ("config.json", "model.safetensors"):
        (folder / whole).unlink()

    with pytest.raises(CaiError, match="a folder of this machine"):
        gather(RunFolder(run), "rl_cai")


def test_what_an_earlier_recipe_of_more_iterations_has_left_is_not_published(run: Path):
    trained(run, "iteration-1/rl_cai")
    shutil.copytree(run / "datasets" / "preferences", run / "datasets/iteration-1/preferences")

    assert not [one.path for one in data_of(run).files if "iteration-1" in one.path]
    with pytest.raises(CaiError, match=r"it has data$"):
        gather(RunFolder(run), "iteration-1/rl_cai")

    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("iterations: 1", "iterations: 2"))
    paths = [one.path for one in data_of(run).files]
    assert "preferences-iteration-1/train/data.parquet" in paths
    assert gather(RunFolder(run), "iteration-1/rl_cai").kind == "model"


def test_rows_of_another_constitution_are_neither_published_nor_exported(tmp_path: Path):
    run = published_run(tmp_path / "run", constitution="0123")

    told = r"constitution 0123, and the run goes by cd34 now; make them anew with: cai run"
    with pytest.raises(CaiError, match=told):
        data_of(run)
    with pytest.raises(CaiError, match=told):
        export_run(run, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")


def test_rows_of_the_run_s_constitution_are_published(tmp_path: Path):
    assert data_of(published_run(tmp_path / "run", constitution="cd34")).files


@pytest.mark.parametrize("model", ["/home/anna/qwen", "openai:qwen@http://10.0.0.7:8000/v1"])
def test_rows_that_name_a_folder_or_server_of_this_machine_are_not_published(
    tmp_path: Path, model: str
):
    run = published_run(tmp_path / "run", model=model)
    assert CliRunner().invoke(app, ["export", str(run), "--format", "trl"]).exit_code == 0

    for what in ("data", "trl"):
        with pytest.raises(CaiError, match=rf"column model \({re.escape(model)}\); write it anew"):
            gather(RunFolder(run), what)


def test_a_model_that_declined_is_not_named_with_its_server_either(tmp_path: Path):
    own = "openai:strict@http://10.0.0.7/v1"
    refusal = {"model": own, "call": "ab12", "sign": "stop reason", "answered_by": "local:cd34"}
    run = published_run(tmp_path / "run", refusals=[refusal])

    with pytest.raises(CaiError, match=rf"column refusals \({re.escape(own)}\); write it anew"):
        data_of(run)


def test_an_export_of_an_earlier_version_is_looked_through_too(run: Path):
    assert CliRunner().invoke(app, ["export", str(run), "--format", "trl"]).exit_code == 0
    rows = run / "exports" / "trl" / "sft" / "train.jsonl"
    rows.write_text(rows.read_text().replace('"model":"m"', '"model":"openai:m@http://10.0.0.7"'))

    with pytest.raises(CaiError, match=r"column model .*; write it anew with: cai export"):
        gather(RunFolder(run), "trl")


def test_what_a_run_does_not_have_is_refused_with_what_it_has(run: Path):
    trained(run)

    with pytest.raises(CaiError, match="has no pm to publish; it has data, rl_cai"):
        gather(RunFolder(run), "pm")


def test_an_export_goes_as_it_lies_without_its_record(run: Path):
    assert CliRunner().invoke(app, ["export", str(run), "--format", "trl"]).exit_code == 0

    paths = [one.path for one in gather(RunFolder(run), "trl").files]

    assert {"README.md", "sft/train.jsonl", "preferences/train.jsonl"} <= set(paths)
    assert "export.json" not in paths


def test_an_export_tells_its_sources_without_a_license_too(run: Path):
    assert CliRunner().invoke(app, ["export", str(run), "--format", "trl"]).exit_code == 0

    assert "red.jsonl" in " ".join(gather(RunFolder(run), "trl").notes)


def test_a_model_whose_base_has_a_license_that_is_not_known_says_so(run: Path):
    trained(run)

    (note,) = gather(RunFolder(run), "rl_cai").notes

    assert "the license of ORG/base is not known here, and holds for rl_cai too" in note


def test_a_run_without_a_license_is_refused(tmp_path: Path):
    run = published_run(tmp_path / "run", license=None)

    told = CliRunner().invoke(app, ["push", str(run), "anna/demo"])

    assert told.exit_code != 0
    assert isinstance(told.exception, CaiError)
    assert "has no license" in str(told.exception)


def test_a_license_can_be_stated_for_a_run_that_has_none(tmp_path: Path):
    run = RunFolder(published_run(tmp_path / "run", license=None))

    assert gather(run, "data", "mit").license == "mit"


def test_the_license_of_a_models_base_is_not_put_aside(run: Path):
    folder = trained(run)
    record = json.loads((folder / "training.json").read_text())
    record["models"]["policy"]["name"] = str(MODEL)
    (folder / "training.json").write_text(json.dumps(record))

    with pytest.raises(CaiError, match=r"license apache-2\.0, which holds for it too"):
        gather(RunFolder(run), "rl_cai", "mit")


def test_sources_without_a_license_are_told(run: Path):
    assert "red.jsonl" in " ".join(data_of(run).notes)


def test_a_key_in_the_rows_is_refused_by_its_place_and_never_shown(tmp_path: Path):
    run = published_run(tmp_path / "run", said=f"use {KEY} to log in")

    with pytest.raises(CaiError) as refused:
        data_of(run)

    assert "sft/train/data.parquet, row 1" in str(refused.value)
    assert KEY not in str(refused.value)


def test_a_secret_of_the_environment_is_refused_whatever_its_shape(tmp_path: Path):
    note_secret("correct-horse-battery")
    run = published_run(tmp_path / "run", said="it is correct-horse-battery")

    with pytest.raises(CaiError, match="looks like an API key"):
        data_of(run)


def test_a_secret_is_found_in_rows_that_escape_its_signs(tmp_path: Path):
    note_secret('quoted-"horse"\\battery')
    run = published_run(tmp_path / "run", said='it is quoted-"horse"\\battery')

    with pytest.raises(CaiError, match="looks like an API key"):
        data_of(run)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Send it as Bearer authentication", False),
        ("Authorization: Bearer abcdef0123456789abcdef", True),
        ("hf_" + "b1" * 15, True),
        ("a task-oriented model", False),
        ("endpoint: https://anna:correct-horse@llm.example.com/v1", True),
        ("see https://example.com:8000/v1, or mail anna@example.com", False),
    ],
)
def test_words_about_keys_are_no_keys(text: str, secret: bool):
    assert has_secret(text) == secret


@pytest.mark.parametrize(
    ("failing", "status", "told"),
    [
        ("/api/repos/create", 403, "has no right to write there"),
        ("/api/repos/create", 404, "no such place"),
        ("/commit/", 403, "has no right to write there"),
        ("/commit/", 413, "takes no files of this size"),
        ("/commit/", 429, "had too many requests"),
        ("/objects/batch", 403, "has no right to write there"),
    ],
)
def test_what_the_hub_refuses_is_told_by_what_to_do(
    run: Path, hub: HubServer, failing: str, status: int, told: str
):
    hub.failing, hub.status = failing, status

    with pytest.raises(CaiError, match=told) as refused:
        push(data_of(run), ANNA, client(hub))

    assert hub.said in str(refused.value)


def test_a_transfer_that_fails_is_told_and_goes_on_with_the_same_command(run: Path, hub: HubServer):
    hub.lost = True
    with pytest.raises(CaiError, match="the same command goes on"):
        push(data_of(run), ANNA, client(hub))
    assert hub.repositories["datasets/anna/demo"].files == {}

    hub.lost = False
    push(data_of(run), ANNA, client(hub))

    assert hub.repositories["datasets/anna/demo"].commits == 1


def test_a_token_that_the_hub_does_not_know_is_told_and_not_shown(run: Path, hub: HubServer):
    wrong = "hf_" + "wrong" * 6

    with pytest.raises(CaiError, match="does not take the token") as refused:
        push(data_of(run), ANNA, HfApi(endpoint=hub.url, token=wrong))

    assert wrong not in str(refused.value)


def test_a_card_that_the_hub_does_not_take_is_told_before_anything_is_sent(
    run: Path, hub: HubServer
):
    hub.invalid = ['"license" must be one of [apache-2.0, …]']

    with pytest.raises(CaiError, match='"license" must be one of'):
        push(data_of(run), ANNA, client(hub))

    assert not [one for one in hub.asked if one.startswith("PUT")]


def test_a_hub_that_cannot_be_reached_is_told(run: Path):
    with pytest.raises(CaiError, match="cannot be reached"):
        push(data_of(run), ANNA, HfApi(endpoint="http://127.0.0.1:9", token="hf_" + "a" * 30))


def test_without_a_token_the_way_to_log_in_is_told(
    run: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))

    with pytest.raises(CaiError, match="hf auth login"):
        push(data_of(run), ANNA, HfApi(endpoint=hub.url))


@pytest.mark.parametrize("name", ["demo", "anna/de mo", "anna/demo/more", "-anna/demo"])
def test_a_name_that_is_none_on_the_hub_is_refused_at_once(name: str):
    with pytest.raises(CaiError, match="is no name on the hub"):
        Target(name)


def test_the_command_takes_hub_and_token_from_the_environment_and_shows_no_token(
    run: Path, tmp_path: Path
):
    with hub_server() as hub:
        own: dict[str, Any] = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token}
        own |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "cai", "push", str(run), "anna/demo", "--go"],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
        )

    assert done.returncode == 0, done.stderr
    assert f"sent: {hub.url}/datasets/anna/demo/commit/1" in done.stdout
    assert hub.token not in done.stdout + done.stderr
    assert not [path for path in run.rglob("*") if path.is_file() and _holds(path, hub.token)]


def _holds(path: Path, text: str) -> bool:
    return text.encode() in path.read_bytes()
