"""How principles name harms and faults of tone, and the words that tell what a text covers."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PHRASES: Mapping[str, tuple[str, ...]] = {
    "theft": (
        "theft",
        "stealing",
        "robbery",
        "taking what belongs to others",
        "shoplifting",
        "looting",
        "stealing things",
        "thieves",
        "snatching what is not theirs",
        "stolen goods",
    ),
    "vandalism": (
        "vandalism",
        "wrecking things",
        "damage to property",
        "destroying what others own",
        "smashing things",
        "breaking things on purpose",
        "setting fires",
        "defacing property",
        "arson",
        "vandals",
    ),
    "fraud": (
        "fraud",
        "scams",
        "swindling",
        "cheating people",
        "deceiving people for money",
        "tricking people",
        "swindlers",
        "deceit",
        "scamming someone",
        "dishonest schemes",
    ),
    "poisoning": (
        "poisoning",
        "poison",
        "drugging people",
        "tainted food",
        "spiked drinks",
        "tampering with food or drink",
        "making people sick",
        "poisoning someone",
        "toxic doses",
        "poisoners",
    ),
    "violence": (
        "violence",
        "hurting people",
        "assault",
        "physical attacks",
        "beating people",
        "stabbing someone",
        "injuring people",
        "violent acts",
        "attacking someone",
        "physical harm",
    ),
    "privacy": (
        "spying",
        "stalking",
        "invading privacy",
        "prying into private lives",
        "snooping",
        "breaches of privacy",
        "eavesdropping",
        "tracking people in secret",
        "surveillance",
        "spies",
    ),
    "preachiness": (
        "preaching",
        "lecturing",
        "moralising",
        "scolding",
        "harsh words",
        "a preachy tone",
        "judging the person",
        "sermons",
    ),
    "evasion": (
        "evasion",
        "dodging the question",
        "evasive answers",
        "changing the subject",
        "avoiding the question",
        "needless refusals",
        "evasive talk",
        "ducking the request",
    ),
    "repetition": (
        "repetition",
        "repeating itself",
        "saying the same thing twice",
        "endless repeats",
        "repetitive talk",
        "repeated sentences",
    ),
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
