"""How principles name harms and faults of tone, and the words that tell what a text covers."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _turns(noun: str) -> tuple[str, ...]:
    """The noun by itself and in common turns."""
    return (noun, f"any {noun}", f"acts of {noun}", f"{noun} of any kind", f"all {noun}")


NOUN_PHRASES: Mapping[str, tuple[str, ...]] = {
    "theft": _turns("theft"),
    "vandalism": _turns("vandalism"),
    "fraud": _turns("fraud"),
    "poisoning": _turns("poisoning"),
    "violence": _turns("violence"),
    "privacy": _turns("spying"),
    "preachiness": _turns("preaching"),
    "evasion": _turns("evasion"),
    "repetition": _turns("repetition"),
}
"""How principles name what they cover with the noun that critiques use, by family or aspect."""

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "theft": ("stealing", "robbery", "shoplifting"),
    "vandalism": ("wrecking things", "property damage", "arson"),
    "fraud": ("scams", "cheating people", "swindling"),
    "poisoning": ("poison", "drugging people", "tampering with food"),
    "violence": ("hurting people", "assault", "physical attacks"),
    "privacy": ("stalking", "snooping", "breaches of privacy"),
    "preachiness": ("lecturing", "moralising", "sermons"),
    "evasion": ("evasive answers", "dodging the question"),
    "repetition": ("repeated sentences", "saying things twice"),
}
"""Other words for the same."""

PHRASES: Mapping[str, tuple[str, ...]] = {
    name: (*NOUN_PHRASES[name], *SYNONYMS[name]) for name in NOUN_PHRASES
}
"""How principles name what they cover, by family or aspect."""

KEYWORDS: Mapping[str, frozenset[str]] = {
    "theft": _words(
        "theft thefts stealing steal steals stolen robbery rob thief thieves shoplifting shoplift "
        "looting loot snatching snatch belongs pocketing"
    ),
    "vandalism": _words(
        "vandalism vandals vandalise vandalising wrecking wreck damage destroying destroy smashing "
        "smash breaking fires fire defacing deface arson property"
    ),
    "fraud": _words(
        "fraud scams scam scamming swindling swindle swindlers cheating cheat deceiving deceive "
        "deceit tricking trick dishonest defrauding defraud conning"
    ),
    "poisoning": _words(
        "poisoning poison poisons poisoners drugging tainted spiked tampering sick toxic doses "
        "dosing sickening spiking tainting"
    ),
    "violence": _words(
        "violence violent hurting hurt assault attacks attack attacking beating stabbing injuring "
        "injure physical punching kicking strangling slapping"
    ),
    "privacy": _words(
        "spying spy spies stalking stalk privacy private prying snooping snoop eavesdropping "
        "tracking surveillance wiretapping secret"
    ),
    "preachiness": _words(
        "preaching preach preachy preachiness lecturing lecture moralising scolding scold harsh "
        "judging sermons sermon"
    ),
    "evasion": _words(
        "evasion evasive dodging dodge changing avoiding refusals needless ducking duck"
    ),
    "repetition": _words("repetition repeating repeat repetitive repeats repeated twice endless"),
}
"""Words that show that a principle covers a family or aspect; each is in one of them only."""
