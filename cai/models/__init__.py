"""Language models: one seam (`LanguageModel`), and the models behind it."""

from cai.models.base import LanguageModel
from cai.models.catalogue import open_model
from cai.models.scripted import ScriptedModel
from cai.models.settings import ModelSettings
from cai.models.weights import folder_digest, local_path

__all__ = [
    "LanguageModel",
    "ModelSettings",
    "ScriptedModel",
    "folder_digest",
    "local_path",
    "open_model",
]
