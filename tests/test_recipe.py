from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.errors import CaiError, InputError
from cai.models.claude_families import sampling_fields, thinking_field
from cai.recipe import load_recipe, save_recipe

EXAMPLES = Path(__file__).parents[1] / "examples"

SMALL = """\
name: small
constitution: harmlessness
models: {default: microworld}
prompts:
  red_team:
    - {file: prompts.txt, kind: harmful}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_recipe_is_valid(path):
    assert load_recipe(path).name == path.stem


def test_the_examples_for_other_models_differ_in_their_models_alone():
    names = ("hosted", "microworld", "server")
    first, *others = (load_recipe(EXAMPLES / f"{name}.yaml") for name in names)

    for other in others:
        assert other.model_copy(update={"models": first.models, "name": first.name}) == first


def test_a_role_that_is_not_named_is_played_by_the_default(small):
    recipe = load_recipe(small, ["models.judge=hf:some/judge"])

    assert recipe.models.of("judge").name == "hf:some/judge"
    assert recipe.models.of("critic").name == "microworld"


def test_a_role_that_nobody_plays_is_named(small):
    recipe = load_recipe(small, ["models={judge: microworld}", "models.base=microworld"])

    with pytest.raises(CaiError, match=r"no model for the role critic; set models\.critic"):
        recipe.models.of("critic")


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("revisions.rounds=2", lambda recipe: recipe.revisions.rounds == 2),
        ("revisions.critique=false", lambda recipe: recipe.revisions.critique is False),
        ("revisions.sampling.stop=[END]", lambda r: r.revisions.sampling.stop == ("END",)),
        ("prompts.red_team.0.limit=7", lambda recipe: recipe.prompts.red_team[0].limit == 7),
        ("sft.learning_rate=0.01", lambda recipe: recipe.sft.learning_rate == 0.01),
    ],
)
def test_an_override_reaches_its_field(small, override, found):
    assert found(load_recipe(small, [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds", "must read field.field=value, met 'rounds'"),
        ("prompts.red_team.5.limit=1", "'5' is no place in a list of 1"),
        ("sft.learning_rate=[", "the value is not YAML"),
        ("revisions.round=2", "did you mean 'rounds'"),
        ("policies=[]", "policies: "),
        ("policies=[ppo]", "'dpo' or 'rl'"),
        (
            "models.default.endpoint=http://127.0.0.1:8000/v1",
            "models.default is 'microworld', which has no fields; write it whole: "
            "--set 'models.default={name: …, endpoint: …}'",
        ),
        ("name.short=x", "--set 'name={short: …}'"),
        ("name=a/b", "name: is 'a/b'; it names a folder: use letters, digits"),
        ("datasets.revisions=first", "write all, last, or upto:N"),
        ("publication.license=Apache 2", "write it as the hub does, such as apache-2.0"),
        ("models.default={name: 'openai:m', endpoint: 'host:80'}", "one such as http://127"),
        ("models.default={name: 'openai:m', api_key_keyring: me}", "entry as SERVICE/USER"),
    ],
)
def test_an_override_that_fits_nowhere_is_refused(small, override, message):
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        load_recipe(small, [override])


def test_a_fault_of_an_override_is_not_blamed_on_a_line_of_the_file(small):
    overrides = ["revisions.rounds=0", "policies=[foo]", "evaluation.contest.draws=few"]

    with pytest.raises(InputError) as refused:
        load_recipe(small, overrides)

    assert {(fault.source, fault.line) for fault in refused.value.faults} == {("--set", None)}
    assert all(line.startswith("--set: ") for line in str(refused.value).splitlines())


def test_an_entry_that_is_wrong_is_one_fault_and_not_also_a_list_that_is_too_short(small):
    with pytest.raises(InputError) as refused:
        load_recipe(small, ["policies=[foo]"])

    assert [fault.field for fault in refused.value.faults] == ["policies.0"]


def test_an_override_fills_a_key_that_the_file_leaves_empty(small):
    small.write_text(small.read_text() + "revisions:\n")

    assert load_recipe(small, ["revisions.rounds=2"]).revisions.rounds == 2


def test_all_faults_of_a_recipe_are_told_at_once_with_their_lines(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        SMALL.replace("name: small", "name: bad name")
        + "seed: -1\nrevisions: {rounds: 0}\ncomparisions: {}\n"
    )

    with pytest.raises(InputError) as refused:
        load_recipe(path)

    places = {fault.field: fault.line for fault in refused.value.faults}
    assert places == {"name": 1, "seed": 7, "revisions.rounds": 8, "comparisions": 9}


def test_files_are_found_beside_the_recipe(small):
    recipe = load_recipe(small)

    assert recipe.prompts.red_team[0].file == small.parent / "prompts.txt"


def test_folders_of_models_are_found_beside_the_recipe_and_else_left_as_they_are_named(small):
    (small.parent / "mine" / "model").mkdir(parents=True)
    (small.parent / "lora").mkdir()
    rival = "evaluation.contest.models={rival: ./mine/model}"

    recipe = load_recipe(
        small,
        [
            "models.default={name: mine/model, adapter: lora}",
            "models.judge=./elsewhere/model",
            "models.critic=hf:mine/model",
            rival,
        ],
    )

    beside = str(small.parent / "mine" / "model")
    assert recipe.models.of("base").name == beside
    assert recipe.models.of("base").adapter == str(small.parent / "lora")
    assert recipe.models.of("judge").name == "./elsewhere/model"
    assert recipe.models.of("critic").name == "hf:mine/model"
    assert recipe.evaluation.contest is not None
    assert recipe.evaluation.contest.models["rival"].name == beside


def test_a_limit_cuts_every_set_and_raises_none():
    recipe = load_recipe(EXAMPLES / "microworld.yaml").limited(150)

    limits = [one.limit for one in recipe.prompts.red_team]
    assert limits == [150, 100]


def test_a_limited_run_asks_the_judge_of_no_more_known_pairs_than_the_limit():
    recipe = load_recipe(EXAMPLES / "microworld.yaml")

    assert recipe.limited(20).evaluation.label_probes == 20
    assert recipe.limited(5000).evaluation.label_probes == recipe.evaluation.label_probes


def test_the_saved_recipe_is_the_recipe(tmp_path):
    recipe = load_recipe(EXAMPLES / "microworld.yaml", ["seed=5"])

    save_recipe(recipe, tmp_path / "recipe.yaml")

    assert load_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_recipe_can_be_foretold(path, tmp_path):
    until = ("--run", tmp_path / "run", "--until", "revisions", "--limit", 3, "--dry-run")

    said = CliRunner().invoke(app, ["run", str(path), *map(str, until)], catch_exceptions=False)

    assert said.exit_code == 0
    assert "What the run would buy" in said.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["openai:gpt-4.1-mini", "anthropic:claude-sonnet-5-5"])
def test_the_hosted_example_asks_no_model_that_it_names_for_what_that_refuses(name):
    recipe = load_recipe(EXAMPLES / "hosted.yaml", [f"models.default.name={name}"])
    text = (EXAMPLES / "hosted.yaml").read_text()

    own = recipe.models.of("critic").sampling
    sampling = recipe.revisions.sampling.under(own).with_seed(1)
    model = name.partition(":")[2]

    assert name in text
    assert recipe.models.of("critic").known_prices is not None
    if name.startswith("anthropic:"):
        assert sampling_fields(model, sampling, thinking_field(model, asked=None)) == {}


@pytest.mark.parametrize("revisions", ["all", "last", "upto:2"])
def test_which_revisions_sft_learns_can_be_said(small, revisions):
    assert load_recipe(small, [f"datasets.revisions={revisions}"]).datasets.revisions == revisions


def test_more_revisions_than_there_are_rounds_are_refused(small):
    with pytest.raises(InputError, match=r"upto:3 asks for more than the 2 rounds"):
        load_recipe(small, ["datasets.revisions=upto:3", "revisions.rounds=2"])

    fitting = load_recipe(small, ["datasets.revisions=upto:2", "revisions.rounds=2"])
    assert fitting.datasets.revisions == "upto:2"


@pytest.mark.parametrize("revisions", ["first", "upto:0", "upto:", "upto:two"])
def test_other_words_for_revisions_are_refused(small, revisions):
    with pytest.raises(InputError, match=r"datasets\.revisions"):
        load_recipe(small, [f"datasets.revisions={revisions}"])
