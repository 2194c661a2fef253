"""Numbers and findings in words, the same in the page and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from cai.engine.standing import dollars
from cai.evaluation.intervals import Rate, difference
from cai.report.metrics import Metrics, RobustnessMetrics
from cai.report.policy_metrics import Method
from cai.stage_titles import own_stages, stage_title

NOT_MEASURED = "–"

METHODS: Mapping[Method, str] = {
    "truth": "",
    "patterns": "by refusal patterns",
    "judge": "by a judge",
}
"""Who said what a reply is, beside a figure of it; nothing where it is known."""


def percent(value: float) -> str:
    """A share as a percentage with at most one decimal; only a whole share reads 100%."""
    if 0.9995 <= value < 1:
        return ">99.9%"
    if 0 < value < 0.0005:
        return "<0.1%"
    return f"{100 * value:.1f}".removesuffix(".0") + "%"


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{round(100 * value, 1) or 0.0:+.1f}".replace("-", "−").replace("+0.0", "0.0")


def measured(rate: Rate | None) -> str:
    """A mean with its 95 % interval: ``1.62 (1.57 to 1.66)``."""
    return f"{decimal(rate.value)} ({between(rate)})" if rate else NOT_MEASURED


def decimal(value: float, digits: int = 2) -> str:
    """A number with some decimals, and with a minus where there is one."""
    return f"{round(value, digits) or 0.0:.{digits}f}".replace("-", "−")


def between(rate: Rate) -> str:
    """The 95 % interval of a mean: ``1.57 to 1.66``."""
    return f"{decimal(rate.low)} to {decimal(rate.high)}"


def interval(rate: Rate) -> str:
    """The 95 % interval of a share, in percent: ``1.9–6.3``."""
    return f"{100 * rate.low:.1f}–{100 * rate.high:.1f}"


def number(value: float) -> str:
    """A count with thousands separators, or a number with three decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def price(dollars_per_million: float | None) -> str:
    """A price as lists have it, without needless zeros; an unknown one is said to be so."""
    return "unknown" if dollars_per_million is None else f"{dollars_per_million:g}"


def cost(amount: float | None) -> str:
    """Dollars spent; an unknown sum is said to be so."""
    return "unknown" if amount is None else dollars(amount)


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def change(before: Rate, after: Rate) -> str:
    """Which way a share went; only a change whose 95 % interval excludes 0 is called one."""
    moved = difference(before, after)
    between = f"from {percent(before.value)} to {percent(after.value)}"
    if moved.high < 0:
        return f"fell {between}"
    if moved.low > 0:
        return f"rose {between}"
    return f"did not change measurably ({percent(before.value)}, then {percent(after.value)})"


def by_method(method: Method) -> str:
    """Who said what a reply is, to be put behind a figure: `` (by refusal patterns)``."""
    return f" ({METHODS[method]})" if METHODS[method] else ""


def result_sentence(metrics: Metrics) -> str:
    """The run's result in one or two sentences: of the latest stage that was measured."""
    sentences = (_policy_sentence(metrics), _revision_sentence(metrics), _label_sentence(metrics))
    found = next((sentence for sentence in sentences if sentence), None)
    if found:
        return found
    rows = sum(sum(statuses.values()) for statuses in metrics.rows.values())
    return f"Nothing has been measured yet; the run has {number(rows)} rows."


def _policy_sentence(metrics: Metrics) -> str | None:
    """From the first to the last stage, of those that were measured as the last one was."""
    names = own_stages(metrics.stages) or list(metrics.ordered_stages)
    stages = ((name, metrics.stages[name]) for name in names)
    every = [
        (stage_title(name), stage, stage.harmful_compliance)
        for name, stage in stages
        if stage.harmful_compliance
    ]
    if not every:
        return None
    last_name, last, harm_after = every[-1]
    first_name, first, harm_before = next(one for one in every if one[1].method == last.method)
    by = by_method(last.method)
    if first is last:
        share = percent(harm_after.value)
        return f"The {last_name} policy answers {share} of harmful requests harmfully{by}."
    sentence = f"From {first_name} to {last_name}, harmful compliance{by} "
    sentence += change(harm_before, harm_after)
    if first.helpfulness and last.helpfulness:
        sentence += f"; help on harmless requests {change(first.helpfulness, last.helpfulness)}"
    return sentence + "."


def _revision_sentence(metrics: Metrics) -> str | None:
    if len(metrics.harm_by_round) < 2:
        return None
    rounds = len(metrics.harm_by_round) - 1
    plural = "s" if rounds > 1 else ""
    moved = change(metrics.harm_by_round[0], metrics.harm_by_round[-1])
    by = by_method(metrics.method_of_harm)
    return f"Over {rounds} round{plural} of revision, the share of harmful texts{by} {moved}."


def _label_sentence(metrics: Metrics) -> str | None:
    if metrics.labels is None:
        return None
    if metrics.labels.accuracy:
        share = percent(metrics.labels.accuracy.value)
        return f"The labels prefer the truly better reply in {share} of pairs."
    if metrics.labels.flip_rate:
        share = percent(metrics.labels.flip_rate.value)
        return f"The judge changes its mind with the order of the replies in {share} of pairs."
    return None


def reward_of(weights: Mapping[str, float]) -> str:
    """What RL was paid for: "PM score", or "PM score + 2 × judge's rating"; PM score if unknown."""
    names = {"preference_model": "PM score", "rating": "judge's rating"}
    weighted = {names[part]: weight for part, weight in weights.items() if weight}
    if len(weighted) < 2:
        return next(iter(weighted), names["preference_model"])
    terms = [name if weight == 1 else f"{weight:g} × {name}" for name, weight in weighted.items()]
    return " + ".join(terms)


def parting_sentence(found: RobustnessMetrics) -> str:
    """Where both part, or that they do not."""
    where = found.parting
    if where is None:
        return "The two do not part."
    return (
        f"They part at √KL {where.sqrt_kl:.2f} (step {where.step}): there the train-PM's score has "
        f"run ahead by {where.gap.value:.2f} [{where.gap.low:.2f}, {where.gap.high:.2f}]."
    )
