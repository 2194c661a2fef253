"""Which prompts and replies are left out: near-duplicates, lengths, languages, contamination."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cai.engine import Ledger, Progress
from cai.errors import CaiError, InputError
from cai.filter_settings import FilterSettings, LanguageSettings, LengthSettings
from cai.filters.contamination import Contamination
from cai.filters.near_duplicates import Prompted, find_clusters, rows_of_a_band
from cai.filters.pieces import pieces
from cai.filters.texts import TextFilters
from cai.pipeline.filtering import prompt_files
from cai.pipeline.folder import RunFolder
from cai.pipeline.studio import Studio
from cai.recipe import Recipe, load_recipe
from cai.records import Comparison, Message, Prompt, digest
from cai.splits import purpose_of, split_of

BREAD = "How do I bake a loaf of white bread at home without a machine?"
BREAD_AGAIN = "How do I bake a loaf of white bread at home without a machine"
BIKE = "What is the fastest way to repair the chain of my old bicycle?"


def asked(text: str, kind: str = "harmless") -> Prompted:
    messages = (Message("user", text),)
    return Prompted(messages, digest(messages), kind)


def test_near_prompts_form_one_cluster_with_the_smallest_hash():
    near, again, far = asked(BREAD), asked(BREAD_AGAIN), asked(BIKE)

    clusters = find_clusters([near, far, again], 0.8)

    first, second = sorted((near.text_hash, again.text_hash))
    assert clusters.smallest == {second: first}
    assert clusters.repeated == {(second, "harmless")}


def test_near_prompts_of_two_kinds_share_a_cluster_but_repeat_nothing():
    clusters = find_clusters([asked(BREAD, "harmless"), asked(BREAD_AGAIN, "harmful")], 0.8)

    assert len(clusters.smallest) == 1
    assert not clusters.repeated


def test_one_text_of_two_kinds_is_no_cluster():
    clusters = find_clusters([asked(BREAD, "harmless"), asked(BREAD, "harmful")], 0.8)

    assert (clusters.smallest, clusters.repeated) == ({}, frozenset())


def test_what_is_linked_over_another_prompt_is_one_cluster():
    words = [f"word{number}" for number in range(40)]
    chain = [asked(" ".join(words[start : start + 30])) for start in range(0, 10, 2)]

    clusters = find_clusters(chain, 0.8)

    assert set(clusters.smallest.values()) == {min(one.text_hash for one in chain)}
    assert len(clusters.smallest) == len(chain) - 1


@settings(max_examples=20)
@given(order=some.permutations(range(30)))
def test_clusters_do_not_depend_on_the_order(order: list[int]):
    source = random.Random(0)
    texts = [" ".join(source.choice("abcdefgh") * 4 for _ in range(12)) for _ in range(10)]
    prompts = [asked(text + end) for text in texts for end in ("", "!", " please")]

    assert find_clusters([prompts[at] for at in order], 0.8) == find_clusters(prompts, 0.8)


def test_no_prompts_have_no_clusters():
    assert find_clusters([], 0.8).smallest == {}


@pytest.mark.parametrize(("similarity", "rows"), [(0.5, 2), (0.8, 4), (0.9, 8), (1.0, 32)])
def test_bands_are_so_narrow_that_near_prompts_surely_share_one(similarity: float, rows: int):
    assert rows_of_a_band(similarity) == rows
    assert 1 - (1 - similarity**rows) ** (128 // rows) >= 0.99 or rows == 2


def test_nearly_all_pairs_above_the_similarity_are_found_and_hardly_any_below():
    source = random.Random(3)
    found: dict[str, list[bool]] = {"above": [], "below": []}
    for number in range(120):
        words = [f"w{source.randrange(10**6)}" for _ in range(60)]
        kept = source.choice((58, 59, 40))
        texts = [" ".join(words), " ".join([*words[:kept], f"{number}"])]
        first, second = (set(pieces(text)) for text in texts)
        jaccard = len(first & second) / len(first | second)
        linked = bool(find_clusters([asked(text) for text in texts], 0.8).smallest)
        if not 0.7 < jaccard < 0.9:
            found["above" if jaccard >= 0.9 else "below"].append(linked)

    assert min(map(len, found.values())) >= 30
    assert sum(found["above"]) >= 0.99 * len(found["above"])
    assert sum(found["below"]) <= 0.05 * len(found["below"])


def test_prompts_of_a_cluster_fall_into_the_same_part():
    source = random.Random(5)
    for _ in range(40):
        text = " ".join(f"w{source.randrange(10**6)}" for _ in range(40))
        pair = [asked(text), asked(text + " now")]
        smallest = find_clusters(pair, 0.8).smallest

        assert len({purpose_of(one.messages, 0.5, smallest) for one in pair}) == 1
        assert len({split_of(one.messages, 0.5, smallest) for one in pair}) == 1


def test_a_prompt_that_is_near_none_stays_where_it_is():
    messages = (Message("user", BIKE),)

    assert split_of(messages, 0.5, {"another": "hash"}) == split_of(messages, 0.5)


def test_a_prompt_that_shares_words_in_a_row_with_an_evaluation_prompt_is_contaminated():
    evaluated = [(Message("user", "Tell me, how do I bake a loaf of white bread today?"),)]
    contamination = Contamination(evaluated, 8)

    assert contamination.holds((Message("user", "HOW do I bake a loaf, of white bread?"),))
    assert not contamination.holds((Message("user", "How do I bake a cake of white bread?"),))


def test_a_short_evaluation_prompt_counts_as_a_whole():
    contamination = Contamination([(Message("user", "Who are you?"),)], 8)

    assert contamination.holds((Message("user", "who ARE you"),))
    assert not contamination.holds((Message("user", "Who are you, and what do you want?"),))


def test_a_text_surely_in_another_language_is_left_out_and_named():
    filters = TextFilters(FilterSettings(language=LanguageSettings(tags=("en",))), "en")

    french = "Comment est-ce que je peux faire du pain blanc à la maison sans machine ?"
    assert filters.of_prompt((Message("user", french),)) == "is written in fr"
    assert filters.of_prompt((Message("user", BREAD),)) is None
    assert filters.of_reply(french) == "the reply is written in fr"


def test_a_language_that_nobody_knows_is_refused():
    filters = TextFilters(FilterSettings(language=LanguageSettings(tags=("english",))), "en")

    with pytest.raises(
        CaiError, match=r"filters\.language\.tags: 'english' is no tag of ace, af, am"
    ):
        filters.of_reply("Hello.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("ab", "is shorter than 3 characters"), ("abc", None), ("abcdef", "is longer than 5 char")],
)
def test_a_prompt_of_another_length_is_left_out(text: str, reason: str | None):
    bounds = LengthSettings(least=3, most=5)
    found = TextFilters(FilterSettings(prompt_length=bounds), "en").of_prompt(
        (Message("system", "Not counted."), Message("user", text))
    )

    assert (found is None) if reason is None else (found is not None and reason in found)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("As a language model, I can't do that.", True),
        ("I am just an AI language model, but here goes.", True),
        ("I don't have personal opinions.", True),
        ("The model speaks the language well.", False),
        ("I'm an aid worker.", False),
    ],
)
def test_boilerplate_is_told_by_its_wording(reply: str, found: bool):
    filters = TextFilters(FilterSettings(boilerplate=True), "en")

    assert bool(filters.of_reply(reply)) is found


def test_a_pair_is_left_out_for_the_boilerplate_of_its_better_reply_alone():
    filters = TextFilters(FilterSettings(boilerplate=True), "en")
    prompt = Prompt((Message("user", "Hello?"),), "file")
    liked = Comparison(prompt, "Hello!", "As a language model, hello.", p_a=0.2)

    assert filters.of_pair(liked)
    assert filters.of_pair(liked.swap())
    assert not filters.of_pair(Comparison(prompt, "Hello!", "As an AI, hello.", p_a=0.9))


def test_a_folder_is_read_for_the_kinds_that_can_be_read(tmp_path: Path):
    for name in ("b.jsonl.gz", "a.csv", "LICENSE", "notes.md"):
        (tmp_path / name).touch()

    assert [path.name for path in prompt_files(tmp_path)] == ["a.csv", "b.jsonl.gz"]


RECIPE = """
name: filtered
constitution: harmlessness
models: {default: microworld}
prompts:
  red_team: [{file: red.txt, kind: harmful}]
  evaluation: [{file: held.txt, kind: harmful}]
"""


def recipe(folder: Path, *settings: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE)
    lines = [BREAD, BREAD, BREAD_AGAIN, BIKE, "Hi", "Comment faire du pain à la maison ce soir ?"]
    (folder / "red.txt").write_text("\n".join(lines))
    (folder / "held.txt").write_text("Please: what is the fastest way to repair the chain?")
    return load_recipe(path, settings)


def test_every_prompt_left_out_is_counted_once_however_often_the_set_is_read(tmp_path: Path):
    given = recipe(
        tmp_path,
        "filters.near_duplicates={}",
        "filters.prompt_length={least: 5}",
        "filters.language={tags: [en]}",
        "filters.contamination={words: 6}",
    )
    folder = RunFolder(tmp_path)

    with Ledger.open(folder.ledger) as ledger, Progress() as progress:
        studio = Studio(given, folder, ledger, progress)
        kept = [list(studio.prompts("red_team")) for _ in range(3)]

    assert kept[0] == kept[1] == kept[2]
    texts = {prompt.messages[0].content for prompt in kept[0]}
    assert len(texts) == 1
    assert texts < {BREAD, BREAD_AGAIN}
    assert studio.left_out == {
        "red.txt: is a repeated prompt": 1,
        "red.txt: is nearly another prompt": 1,
        "red.txt: is shorter than 5 characters": 1,
        "red.txt: is written in fr": 1,
        "red.txt: shares 6 words in a row with an evaluation prompt": 1,
    }


def test_nothing_but_repetitions_is_left_out_by_default(tmp_path: Path):
    folder = RunFolder(tmp_path)

    with Ledger.open(folder.ledger) as ledger, Progress() as progress:
        studio = Studio(recipe(tmp_path), folder, ledger, progress)
        kept = list(studio.prompts("red_team"))

    assert len(kept) == 5
    assert studio.left_out == {"red.txt: is a repeated prompt": 1}


def test_near_prompts_may_all_be_kept(tmp_path: Path):
    folder = RunFolder(tmp_path)
    given = recipe(tmp_path, "filters.near_duplicates={keep: all}")

    with Ledger.open(folder.ledger) as ledger, Progress() as progress:
        studio = Studio(given, folder, ledger, progress)
        near = [one for one in studio.prompts("red_team") if "bread" in one.messages[0].content]

    assert len(near) == 2
    assert len({studio.purpose_of(prompt) for prompt in near}) == 1


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("filters.near_duplicates={similarity: 0.2}", "greater than or equal to 0.5"),
        ("filters.prompt_length={least: 9, most: 3}", "least 9 above most 3"),
        ("filters.language={tags: []}", "and needs 1 at least"),
        ("filters.near_duplicate={}", "did you mean 'near_duplicates'"),
    ],
    ids=["similarity", "length", "no language", "unknown"],
)
def test_a_filter_that_makes_no_sense_is_refused_with_its_place(
    tmp_path: Path, setting: str, fault: str
):
    with pytest.raises(InputError, match=fault):
        recipe(tmp_path, setting)
