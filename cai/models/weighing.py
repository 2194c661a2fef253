"""How options are weighed from the likeliest tokens alone, or from sampled replies.

Where a model is at hand, they are weighed exactly: see `cai.models.option_plan`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from cai.records import Usage, Weighed

LOWEST = -708.0
"""Stands for the log-probability of an impossible option: exp of it is the least normal float."""


MARKS = "()[]{}<>*_`'\".,:;!“”‘’「」"
"""What may stand around the letter of an answer: (A), **A**, "A." …"""


Path = TypeVar("Path", bound=tuple[Hashable, ...])
"""Tokens in their order, as ids or as texts."""


class WeighedOptions(NamedTuple):
    """Log-probabilities of options, their total probability, and the first one's error."""

    logprobs: tuple[float, ...]
    mass: float
    standard_error: float | None = None


def logsumexp(logprobs: Sequence[float]) -> float:
    """Natural log of the sum of the probabilities."""
    highest = max(logprobs)
    if highest == -math.inf:
        return highest
    return highest + math.log(math.fsum(math.exp(logprob - highest) for logprob in logprobs))


def weighed_by_paths(
    paths: Sequence[Sequence[Path]], chains: Mapping[Path, float]
) -> tuple[float, ...]:
    """Natural log of p(option), from its spellings as tokens in their order.

    A reply counts for the longest option that it begins with: of the probability of "1", that of
    "1" and then "0" belongs to "10".

        p(option) = Σ ( P(path) − Σ P(longer) ),  over the spellings of the option, and over those
        of others that have none of any option between it and them

    Args:
        paths: of each option, its spellings, at least one.
        chains: of each spelling, natural log of P, the probability of all replies that begin so.
    """
    every = [path for spelled in paths for path in spelled]
    places: dict[tuple[Hashable, ...], int] = {path: place for place, path in enumerate(every)}
    alone = [math.exp(chains[path]) for path in every]
    touched = set[int]()
    for path in every:
        shorter = (path[:length] for length in range(len(path) - 1, 0, -1))
        within = next((place for one in shorter if (place := places.get(one)) is not None), None)
        if within is not None:
            alone[within] -= math.exp(chains[path])
            touched.add(within)
    left = iter(
        (math.log(p) if p > 0 else -math.inf) if place in touched else chains[path]
        for place, (path, p) in enumerate(zip(every, alone, strict=True))
    )
    return tuple(max(LOWEST, logsumexp([next(left) for _ in spelled])) for spelled in paths)


def mass(logprobs: Sequence[float]) -> float:
    """Total probability of the options, at most 1 where rounding would give more."""
    return min(1.0, math.fsum(map(math.exp, logprobs)))


def never(option: str) -> bool:
    """Nothing is known of how options are written as tokens."""
    return False


def weighed_by_top_k(
    top: Sequence[tuple[str, float]],
    options: Sequence[str],
    usage: Usage,
    model: str,
    is_one_token: Callable[[str], bool] = never,
) -> Weighed:
    """What the likeliest first tokens of a reply say of options; as `bounded_by_top_k`."""
    bounds = bounded_by_top_k(top, options, is_one_token)
    others = other_than(likeliest(top), options)
    return Weighed(bounds.logprobs, bounds.mass, "top_k", usage, model, others=others)


def likeliest(top: Sequence[tuple[str, float]]) -> str:
    """The text of the likeliest token, of one at least."""
    return max(top, key=lambda one: one[1])[0]


def other_than(token: str, options: Sequence[str]) -> tuple[str, ...]:
    """A likeliest token as `Weighed.others` has it: it is kept if no option begins with it."""
    text = token.lstrip(" ")
    return () if any(option.lstrip(" ").startswith(text) for option in options) else (token,)


def bounded_by_top_k(
    top: Sequence[tuple[str, float]],
    options: Sequence[str],
    is_one_token: Callable[[str], bool] = never,
) -> WeighedOptions:
    """Read options from the likeliest first tokens of a reply.

    A token that is not among them is less likely than each of them, and has no more than what they
    leave:  log p ≤ min( min_i log p_i, log(1 − Σ p_i) ).  An option that is not among them is given
    that bound and, unless it is one token, what is listed of its beginnings: "10" may be all "1".
    It does not count into the mass.

    Args:
        top: texts of tokens with their natural log-probabilities, at least one; spellings that
            differ by leading spaces are one option.
        options: texts that the reply may begin with.
        is_one_token: whether the model surely writes an option as one token.
    """
    probabilities = top_spellings(top, options)
    logprobs = [logprob for _, logprob in top]
    rest = 1 - math.fsum(map(math.exp, logprobs))
    bound = max(LOWEST, min(*logprobs, math.log(rest) if rest > 0 else LOWEST))
    found = [logprob for logprob in probabilities if logprob is not None]
    return WeighedOptions(
        tuple(
            min(0.0, logsumexp([bound, *_listed_beginnings(top, option, is_one_token(option))]))
            if logprob is None
            else logprob
            for option, logprob in zip(options, probabilities, strict=True)
        ),
        mass(found),
    )


def _listed_beginnings(
    top: Sequence[tuple[str, float]], option: str, one_token: bool
) -> list[float]:
    """Log-probabilities of listed tokens that are a beginning of an option, or of spaces alone."""
    wanted = option.lstrip(" ")
    beginnings = [
        (token.lstrip(" "), logprob)
        for token, logprob in top
        if token and wanted.startswith(token.lstrip(" ")) and token.lstrip(" ") != wanted
    ]
    return [logprob for text, logprob in beginnings if not (text and one_token)]


def top_spellings(
    top: Sequence[tuple[str, float]], options: Sequence[str]
) -> tuple[float | None, ...]:
    """Log-probability of all listed tokens that read as an option; None if none does.

    Args:
        top: as in `bounded_by_top_k`.
        options: texts; leading spaces of options and tokens aside.
    """

    def read_as(option: str) -> float | None:
        wanted = option.lstrip(" ")
        logprobs = [logprob for token, logprob in top if token.lstrip(" ") == wanted]
        return logsumexp(logprobs) if logprobs else None

    return tuple(map(read_as, options))


def estimated_from_replies(replies: Sequence[str], options: Sequence[str]) -> WeighedOptions:
    """Estimate options from k sampled replies, half a reply added to each option's count.

        p_i = (n_i + ½) / (h + m/2),   h = Σ n_i of k replies,   standard error √(p_1 (1 − p_1) / h)

    The log-probabilities are those of p_i · h/k: replies that name no option take their share of
    the probability (with h = 0, half a reply's is left, and the mass is 0).

    Args:
        replies: texts; see `named_option`.
        options: the m texts that the reply may begin with.
    """
    named = [named_option(reply, options) for reply in replies]
    counts = [named.count(option) for option in options]
    hits, k = sum(counts), len(replies)
    shares = [(count + 0.5) / (hits + len(options) / 2) for count in counts]
    named_share = hits / k if hits else 0.5 / k
    first = shares[0]
    return WeighedOptions(
        tuple(math.log(share * named_share) for share in shares),
        hits / k,
        math.sqrt(first * (1 - first) / max(hits, 1)),
    )


def declined_label(model: str) -> Weighed:
    """What a provider gives that declines to answer a question: no probabilities at all."""
    return Weighed((), 0.0, "top_k", Usage(), model, refused=True)


def unclosed(options: Sequence[str]) -> tuple[str, ...]:
    """Options in brackets without what closes them: " (A" says all that " (A)" does."""
    return tuple(
        option.removesuffix(")") if option.lstrip(" ").startswith("(") else option
        for option in options
    )


def named_option(reply: str, options: Sequence[str]) -> str | None:
    """The option that a reply begins with, without marks around both; None if it begins with none.

    An option is a letter that a mark follows, or that ends its line: "(A)", "A.", "B: since …". A
    letter with a sentence behind it may be that sentence's first word, as in "A clear case for B".
    """
    lines = reply.strip().splitlines()
    words = lines[0].split() if lines else []
    if not words or not (words[0][-1] in MARKS or len(words) == 1):
        return None
    named = {option.strip(f" {MARKS}"): option for option in options}
    return named.get(words[0].strip(MARKS))
