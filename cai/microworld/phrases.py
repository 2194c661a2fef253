"""How principles name harms and faults of tone, and the words that tell what a text covers."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _turns(noun: str) -> tuple[str, ...]:
    """The noun by itself and in common turns."""
    return (noun, f"any {noun}", f"acts of {noun}", f"{noun} of any kind", f"all {noun}")


PHRASES: Mapping[str, tuple[str, ...]] = {
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
"""How principles name what they cover: by the nouns that critiques use. Other words for it are
beyond the model, and `cai constitution check --model microworld` names them."""

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
