"""Constitutional AI inside LangChain: answers that are critiqued and revised before they go out.

Importing this loads langchain-core. The other way round, a LangChain model in a recipe, is
`cai.models.langchain`.
"""

from cai.langchain.conversation import UnusableInput
from cai.langchain.course import QUESTION, ConstitutionalAnswer, Round, UnusableReply
from cai.langchain.runnable import ConstitutionalRunnable

__all__ = [
    "QUESTION",
    "ConstitutionalAnswer",
    "ConstitutionalRunnable",
    "Round",
    "UnusableInput",
    "UnusableReply",
]
