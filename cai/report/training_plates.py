"""The figures of trainings, of one run or of two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cai.report import alts, curves, wording
from cai.report.data import ReportData, TrainingStep
from cai.report.drawing import Plate
from cai.stage_titles import stage_title

PANELS = {
    "kl": "KL from SL-CAI, nats a reply",
    "entropy": "entropy, nats a token",
    "length": "length, tokens",
}
"""Figures of RL's log that are drawn beside the reward, and their titles."""

SIGNS = {
    "refusal": "share of refusals",
    "boilerplate": "share with boilerplate",
    "preachy": "share that preaches",
    "harsh": "share with contempt",
    "repetition": "share of repeated words",
    "stock": "share with the commonest phrase",
    "distinct_2": "distinct word pairs, share",
    "words": "length, words",
}
"""Figures of RL's log that show a reward being gamed (Bai et al. 2022, §4.3)."""


def training_plates(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    """Reward, KL, entropy and length of RL, and the signs of a gamed reward, by iteration."""
    for policy in runs[0].training:
        if all(policy in run.training for run in runs):
            yield from _of_policy(runs, names, policy)


def _of_policy(runs: Sequence[ReportData], names: Sequence[str], policy: str) -> Iterator[Plate]:
    *later, _ = policy.split("/")
    name = "".join(f"-{part}" for part in later)
    title = "".join(f", {part.replace('-', ' ')}" for part in later)
    paid_for = dict.fromkeys(wording.reward_of(run.metrics.reward) for run in runs)
    titles = {"reward": f"reward ({', '.join(paid_for)})", **PANELS}
    steps = [run.training[policy] for run in runs]
    if panels := _logged(steps, titles):
        yield _curves(
            f"training{name}",
            f"RL training{title}",
            "Reward is what RL was paid for, KL the distance from the SL-CAI policy that it starts "
            "from. Reward that climbs while the policies do not improve is the preference model "
            "being gamed; entropy that falls to nothing is a policy that says one thing.",
            panels,
            names,
        )
    if panels := _logged(steps, SIGNS):
        yield _curves(
            f"signs{name}",
            f"Signs of a gamed reward, by RL step{title}",
            "What the replies of each rollout batch are like (Bai et al. 2022, §4.3): boilerplate "
            "that spreads, replies that preach, repeat themselves or grow, and word pairs that "
            "are ever the same." + _bands(panels),
            panels,
            names,
        )


def _curves(
    name: str, title: str, caption: str, panels: Sequence[curves.Panel], names: Sequence[str]
) -> Plate:
    size = (6.8, 0.5 + 1.9 * ((len(panels) + 1) // 2))
    alt = alts.curves(panels, names or ("",))
    return Plate(name, title, alt, caption, curves.curves(panels, "RL step"), size)


def _bands(panels: Sequence[curves.Panel]) -> str:
    return " Bands are 95% intervals." if any(panel.bands for panel in panels) else ""


def _logged(
    steps: Sequence[Sequence[TrainingStep]], titles: Mapping[str, str]
) -> list[curves.Panel]:
    logged = {name for run in steps for step in run for name in step.figures}
    return _panels(steps, {name: title for name, title in titles.items() if name in logged})


def _panels(
    runs: Sequence[Sequence[TrainingStep]], titles: Mapping[str, str]
) -> list[curves.Panel]:
    def points(name: str) -> list[curves.Points]:
        return [[(one.step, one.figures.get(name)) for one in run] for run in runs]

    bands = {name: (points(f"{name}_low"), points(f"{name}_high")) for name in titles}
    return [
        curves.Panel(title, points(name), bands[name] if _known(bands[name]) else None)
        for name, title in titles.items()
    ]


def _known(band: tuple[Sequence[curves.Points], Sequence[curves.Points]]) -> bool:
    return any(y is not None for side in band for run in side for _, y in run)


def loss_plates(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    """The losses of all other trainings that every run has made."""
    panels: list[curves.Panel] = []
    for model in runs[0].losses:
        steps = [run.losses.get(model, ()) for run in runs]
        if all(any("loss" in one.figures for one in run) for run in steps):
            panels += _panels(steps, {"loss": f"loss of {_model(model)}, nats"})
    if not panels:
        return
    yield Plate(
        "losses",
        "Training losses",
        alts.curves(panels, names or ("",)),
        "Loss of every other training, in nats, by optimiser step.",
        curves.curves(panels, "step"),
        (6.8, 0.5 + 1.9 * ((len(panels) + 1) // 2)),
    )


def _model(name: str) -> str:
    *later, kind = name.split("/")
    title = {"pm": "preference model", "pm_test": "test-PM"}.get(kind, stage_title(kind))
    return ", ".join([title, *(part.replace("-", " ") for part in later)])
