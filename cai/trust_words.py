"""What a judge was measured to be, in words."""

from __future__ import annotations

from collections.abc import Mapping

TRUST: Mapping[bool | None, str] = {True: "yes", False: "NO", None: "not known"}
"""Whether a judge is to be trusted, for a table."""

DISTRUST: Mapping[bool | None, str] = {
    True: "",
    False: "not trustworthy",
    None: "judge not checked",
}
"""What is said beside a judge's figure; nothing if the judge has kept its gate."""
