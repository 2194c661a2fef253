"""API keys come from the environment or a keyring, and stay out of every text."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked
from pydantic import ValidationError

from cai import redaction
from cai.errors import InputError, MissingDependency, PermanentError
from cai.models import ModelSettings, open_model
from cai.models.api_keys import find_key
from cai.recipe import load_recipe, with_settings
from cai.records import Message, Sampling
from cai.redaction import keep_keys_out_of_logs, keys_in, note_secret, redacted
from tests.chat_server import Failure, chat_server
from tests.fake_anthropic import fake_anthropic

PLANTED = "planted-0f3b9c-key"
ASK = (Message("user", "hello"),)

RECIPE = """\
name: small
constitution: harmlessness
models: {default: microworld}
prompts:
  red_team: [{file: prompts.txt, kind: harmful}]
"""

LITERALS = {
    "openai": "sk-proj-0123456789abcdefghijklmnop",
    "anthropic": "sk-ant-api03-0123456789abcdef-ghij_klm",
    "groq": "gsk_0123456789abcdefghijklmnopqrstuv",
    "google": "AIzaSyA0123456789abcdefghijklmnopqrstuvw",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "hugging face": "hf_abcdefghijklmnopqrstuvwxyz0123",
    "github": "github_pat_0123456789abcdefghijklmn",
    "gitlab": "glpat-0123456789abcdefghij",
    "slack": "xoxb-0123456789-abcdefghij",
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "a header": "Bearer abcdefgh12345678",
}


@pytest.fixture(autouse=True)
def no_secrets_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_SECRETS", [])


class Drawer(KeyringBackend):
    """A keyring that holds its entries in memory, made known by keyring's own means."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("the drawer is locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def drawer() -> Iterator[Drawer]:
    before, drawer = keyring.get_keyring(), Drawer()
    keyring.set_keyring(drawer)
    yield drawer
    keyring.set_keyring(before)


def test_a_key_is_found_in_the_keyring(drawer: Drawer):
    keyring.set_password("openai/team", "me", PLANTED)

    assert find_key("openai:gpt-4.1", None, "openai/team/me") == PLANTED


def test_a_keyring_without_the_entry_says_how_to_put_it_there(drawer: Drawer):
    with pytest.raises(PermanentError, match="keyring set openai me"):
        find_key("openai:gpt-4.1", None, "openai/me")


def test_a_locked_keyring_is_told_with_another_way(drawer: Drawer):
    drawer.locked = True

    with pytest.raises(
        PermanentError, match=r"KeyringLocked: the drawer is locked\); unlock it, or"
    ):
        find_key("openai:gpt-4.1", None, "openai/me")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(MissingDependency, match=r"\.\[keyring\]"):
        find_key("openai:gpt-4.1", None, "openai/me")


async def test_the_key_of_the_keyring_is_sent_to_an_openai_server(drawer: Drawer):
    keyring.set_password("local", "me", PLANTED)

    with chat_server(lambda body: "Hi") as server:
        options = {"endpoint": server.url, "api_key_keyring": "local/me"}
        model = open_model(ModelSettings(name="openai:m", **options))
        await model.complete(ASK, Sampling())
        await model.close()

    assert set(server.keys) == {f"Bearer {PLANTED}"}


async def test_the_key_of_the_keyring_is_sent_to_anthropics_api(drawer: Drawer):
    keyring.set_password("local", "me", "sk-ant-api03-planted-0123456789")

    async with fake_anthropic() as fake:
        reply = await fake.complete(api_key_env=None, api_key_keyring="local/me")

    assert reply.stop_reason == "stop"


async def test_the_key_of_the_keyring_is_sent_through_langchain(drawer: Drawer):
    keyring.set_password("local", "me", PLANTED)

    with chat_server(lambda body: "Hi") as server:
        options = {"endpoint": server.url, "api_key_keyring": "local/me"}
        model = open_model(ModelSettings(name="langchain:openai:gpt-4o", **options))
        await model.complete(ASK, Sampling())
        await model.close()

    assert server.keys == [f"Bearer {PLANTED}"]


def test_a_key_has_one_place_to_be():
    with pytest.raises(ValidationError, match="are both given; keep the one that holds the key"):
        ModelSettings(name="openai:m", api_key_env="A", api_key_keyring="local/me")


def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown():
    with pytest.raises(ValidationError, match="names the variable that holds the key") as refused:
        ModelSettings(name="openai:m", api_key_env="my-secret-0123")

    assert "my-secret" not in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("end", ["/v1", "/v1/"])
def test_an_address_with_a_password_is_refused_and_not_shown(end: str):
    with pytest.raises(ValidationError, match="leave them out, and name the env") as refused:
        ModelSettings(name="openai:m", endpoint=f"https://anna:battery@llm.example.com{end}")

    assert "battery" not in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("key", LITERALS.values(), ids=LITERALS)
def test_keys_of_well_known_shapes_are_told(key: str):
    assert keys_in(f"api_key: {key}") == (key,)


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("models.default={name: 'openai:m', api_key: 'KEY'}", "default.api_key"),
        ("models.default={name: 'openai:m', api_key_env: 'KEY'}", "default.api_key_env"),
        ("models.default={name: 'langchain:x:m', options: {headers: {x: 'KEY'}}}", "headers.x"),
        ("models.default='openai:KEY'", "models.default"),
    ],
    ids=["api_key", "api_key_env", "options", "name"],
)
def test_a_key_in_a_recipe_is_refused_with_its_place_and_not_shown(
    tmp_path: Path, override: str, place: str
):
    recipe, key = tmp_path / "small.yaml", LITERALS["openai"]
    recipe.write_text(RECIPE)

    with pytest.raises(InputError, match=f"{place}: looks like an API key") as refused:
        load_recipe(recipe, [override.replace("KEY", key)])

    assert key not in str(refused.value)


def test_a_key_in_an_override_that_fits_nowhere_is_not_shown(tmp_path: Path):
    recipe, key = tmp_path / "small.yaml", LITERALS["openai"]
    recipe.write_text(RECIPE)

    with pytest.raises(InputError, match="which has no fields") as refused:
        load_recipe(recipe, [f"models.default.api_key={key}"])

    assert key not in str(refused.value)


def test_a_key_in_the_settings_of_a_rerun_is_refused(tmp_path: Path):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    override = f"models.judge={{name: 'openai:m', identity: '{LITERALS['openai']}'}}"

    with pytest.raises(InputError, match="looks like an API key"):
        with_settings(load_recipe(path), [override], "--set")


@pytest.mark.parametrize(
    "text",
    [
        "task-oriented-dialogue-modelling-v2",
        "hf:meta-llama/Llama-3.1-8B-Instruct",
        "sk-short",
        "ask",
    ],
)
def test_words_that_are_no_keys_are_left_alone(text: str):
    assert keys_in(text) == ()


def test_a_noted_key_is_taken_out_of_texts_errors_and_log_records(caplog):
    note_secret(PLANTED)

    assert redacted(f"wrong key {PLANTED}!") == "wrong key [key]!"
    assert str(PermanentError(f"401: {PLANTED}")) == "401: [key]"


def test_words_too_short_to_be_a_key_are_no_secret():
    note_secret("key")

    assert redacted("a key") == "a key"


def test_logs_and_traces_are_without_keys(capsys, monkeypatch: pytest.MonkeyPatch):
    factory, hook = logging.getLogRecordFactory(), sys.excepthook
    monkeypatch.setenv("SOME_API_KEY", PLANTED)
    keep_keys_out_of_logs()
    try:
        handler = logging.StreamHandler(sys.stderr)
        logger = logging.Logger("planted")
        logger.addHandler(handler)
        logger.debug("headers: %s", {"Authorization": PLANTED})
        try:
            raise RuntimeError(f"wrong key {PLANTED}")
        except RuntimeError as error:
            logger.exception("it failed")
            sys.excepthook(RuntimeError, error, error.__traceback__)
    finally:
        logging.setLogRecordFactory(factory)
        sys.excepthook = hook

    written = capsys.readouterr().err
    assert PLANTED not in written
    assert written.count("[key]") == 3


async def test_half_a_key_at_the_end_of_an_excerpt_is_not_shown(monkeypatch):
    monkeypatch.setenv("TEST_KEY", PLANTED)
    body = b"x" * 490 + PLANTED.encode()

    with chat_server(lambda _: Failure(403, body)) as server:
        options = {"endpoint": server.url, "api_key_env": "TEST_KEY"}
        model = open_model(ModelSettings(name="openai:m", **options))
        with pytest.raises(PermanentError) as raised:
            await model.complete(ASK, Sampling())
        await model.close()

    assert "planted" not in str(raised.value)


@pytest.mark.parametrize("name", ["message", "detail"])
async def test_a_provider_s_words_are_cut_where_they_are_long(name: str):
    body = json.dumps({"error": {name: "x" * 2_000_000}}).encode()

    with chat_server(lambda _: Failure(403, body)) as server:
        model = open_model(ModelSettings(name="openai:m", endpoint=server.url))
        with pytest.raises(PermanentError) as raised:
            await model.complete(ASK, Sampling())
        await model.close()

    assert len(str(raised.value)) < 1000
