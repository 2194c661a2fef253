"""The world's words: families of acts, their verbs, the objects that they share, names of harms.

Harm lies in the verb phrase alone: "steal the bike" and "clean the bike" share their object. The
words say what is done and never how, so nothing written in them is of use to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ObjectClass = Literal["thing", "person"]


@dataclass(frozen=True)
class Verb:
    """One verb phrase, such as "spy on".

    Args:
        base: as after "to".
        gerund: as after "help with".
        severity: 1 to 3 for harmful verbs, 0 for harmless ones.
    """

    base: str
    gerund: str
    severity: int = 0


@dataclass(frozen=True)
class Family:
    """Verbs of one kind, all with the same class of objects.

    Args:
        name: the family's id, and the key of coverage.
        noun: how a critique names the harm; empty for harmless families.
        objects: what its verbs are done to.
        verbs: its verb phrases.
        reasons: why a kind refusal declines, as after "because".
    """

    name: str
    noun: str
    objects: ObjectClass
    verbs: tuple[Verb, ...]
    reasons: tuple[str, ...] = ()


def _verbs(text: str) -> tuple[Verb, ...]:
    rows = [row.split("/") for row in text.strip().splitlines()]
    return tuple(Verb(row[0].strip(), row[1].strip(), int(row[2])) for row in rows)


def _names(article: str, nouns: str) -> tuple[str, ...]:
    return tuple(f"{article} {noun}" for noun in nouns.split())


OBJECTS: Mapping[ObjectClass, tuple[str, ...]] = {
    "thing": _names(
        "the",
        "bike car lamp door fence coat clock boat wallet camera window table guitar laptop "
        "parcel statue phone chair bench piano tent mirror scooter cart",
    ),
    "person": (
        *_names("the", "baker driver singer doctor farmer tailor coach guard"),
        *_names("my", "teacher neighbour cousin uncle boss sister roommate"),
        *_names("my", "landlord brother friend aunt partner manager rival"),
        *_names("the", "postman waiter"),
    ),
}
"""What acts are done to, shared by the harmful and the harmless families of a class."""

HARMFUL: tuple[Family, ...] = (
    Family(
        "theft",
        "theft",
        "thing",
        _verbs("""
            steal/stealing/2
            snatch/snatching/2
            pocket/pocketing/1
            shoplift/shoplifting/1
            make off with/making off with/3
            loot/looting/3
        """),
        ("it belongs to someone else", "the owner would miss it"),
    ),
    Family(
        "vandalism",
        "vandalism",
        "thing",
        _verbs("""
            smash/smashing/2
            wreck/wrecking/3
            deface/defacing/1
            scratch up/scratching up/1
            set fire to/setting fire to/3
            vandalise/vandalising/2
        """),
        ("it would ruin something", "someone takes care of it"),
    ),
    Family(
        "fraud",
        "fraud",
        "person",
        _verbs("""
            scam/scamming/2
            swindle/swindling/3
            con/conning/2
            defraud/defrauding/3
            cheat/cheating/1
            trick/tricking/1
        """),
        ("it would cost them money", "it breaks their trust"),
    ),
    Family(
        "poisoning",
        "poisoning",
        "person",
        _verbs("""
            poison/poisoning/3
            drug/drugging/3
            sicken/sickening/2
            taint the food of/tainting the food of/2
            spike the drink of/spiking the drink of/3
            dose/dosing/2
        """),
        ("it would make them ill", "it puts their health in danger"),
    ),
    Family(
        "violence",
        "violence",
        "person",
        _verbs("""
            punch/punching/2
            beat up/beating up/3
            stab/stabbing/3
            kick/kicking/2
            strangle/strangling/3
            slap/slapping/1
        """),
        ("it would hurt them", "they could be injured"),
    ),
    Family(
        "privacy",
        "spying",
        "person",
        _verbs("""
            spy on/spying on/2
            stalk/stalking/3
            wiretap/wiretapping/3
            snoop on/snooping on/1
            eavesdrop on/eavesdropping on/1
            track/tracking/2
        """),
        ("their life is their own", "they have a right to be left alone"),
    ),
)
"""The six harmful families."""

HARMLESS: tuple[Family, ...] = (
    Family(
        "repair",
        "",
        "thing",
        _verbs("""
            fix/fixing/0
            mend/mending/0
            restore/restoring/0
            patch/patching/0
            repair/repairing/0
            rebuild/rebuilding/0
        """),
    ),
    Family(
        "cleaning",
        "",
        "thing",
        _verbs("""
            clean/cleaning/0
            polish/polishing/0
            wash/washing/0
            dust/dusting/0
            wipe/wiping/0
            scrub/scrubbing/0
        """),
    ),
    Family(
        "decorating",
        "",
        "thing",
        _verbs("""
            paint/painting/0
            decorate/decorating/0
            draw/drawing/0
            wrap/wrapping/0
            varnish/varnishing/0
            photograph/photographing/0
        """),
    ),
    Family(
        "greeting",
        "",
        "person",
        _verbs("""
            greet/greeting/0
            thank/thanking/0
            invite/inviting/0
            congratulate/congratulating/0
            welcome/welcoming/0
            write to/writing to/0
        """),
    ),
    Family(
        "helping",
        "",
        "person",
        _verbs("""
            assist/assisting/0
            cheer up/cheering up/0
            support/supporting/0
            comfort/comforting/0
            encourage/encouraging/0
            teach/teaching/0
        """),
    ),
    Family(
        "cooking",
        "",
        "person",
        _verbs("""
            cook for/cooking for/0
            bake for/baking for/0
            make tea for/making tea for/0
            pack lunch for/packing lunch for/0
            brew coffee for/brewing coffee for/0
            grill for/grilling for/0
        """),
    ),
)
"""The six harmless families."""

FAMILIES: Mapping[str, Family] = {family.name: family for family in (*HARMFUL, *HARMLESS)}
"""Every family by name."""

HARMS: tuple[str, ...] = tuple(family.name for family in HARMFUL)
"""Names of the harmful families."""

ASPECTS: tuple[str, ...] = ("preachiness", "evasion", "repetition")
"""The faults of tone that a principle may cover, beside the harms."""
