"""Our three interfaces against `transformers serve`, a server that somebody else wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.models import ModelSettings, open_model
from cai.models.check import check_model
from cai.models.local import LocalModel
from cai.models.turn_text import turn_text
from cai.records import Message, Sampling
from tests.transformers_server import transformers_server

pytestmark = pytest.mark.slow

ASK = [Message("user", "Ask me")]
GREEDY = Sampling(temperature=0, max_tokens=8)


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a process that serves the tiny model."""
    with transformers_server(tiny_model, tmp_path_factory.mktemp("serve") / "log") as address:
        yield f"{address}/v1"


def settings(server: str, model: Path, **options: Any) -> ModelSettings:
    served = {"name": f"openai:{model}", "endpoint": server, "served_by": "transformers"}
    return ModelSettings.model_validate(served | options)


async def text_of(chosen: ModelSettings, sampling: Sampling) -> str:
    model = open_model(chosen)
    try:
        return (await model.complete(ASK, sampling)).text
    finally:
        await model.close()


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
async def test_the_likeliest_reply_is_that_of_the_model_in_process(
    server: str, tiny_model: Path, api: str
):
    local = LocalModel(str(tiny_model), device="cpu")
    prompt = turn_text(ASK) if api == "completions" else ASK

    remote = await text_of(settings(server, tiny_model, api=api), GREEDY)

    here = (await local.generate(prompt, GREEDY)).completion.text
    assert remote == (here.removeprefix(" ") if api == "completions" else here)
    await local.close()


async def test_replies_are_drawn_and_not_the_likeliest_each_time(server: str, tiny_model: Path):
    chosen = settings(server, tiny_model)

    texts = [await text_of(chosen, Sampling(max_tokens=8, seed=seed)) for seed in (1, 1, 2, 3)]

    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


async def test_what_it_lacks_is_found_out_without_being_told(server: str, tiny_model: Path):
    told = settings(server, tiny_model).model_dump(exclude={"served_by"}, exclude_none=True)

    checked = await check_model(ModelSettings.model_validate(told))

    assert checked.error is None
    assert (checked.logprobs, checked.prefill, checked.n) == (0, False, False)
    assert checked.labels.startswith("8-sample estimates")
