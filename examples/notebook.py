"""The Python API in a few cells; run them all by `python examples/notebook.py`."""

# %% A constitution, and what it says
from pathlib import Path

import pandas as pd

from cai.constitution import load_constitution
from cai.pipeline import RunFolder, run_recipe
from cai.recipe import load_recipe

constitution = load_constitution("microworld")
print(pd.DataFrame([(one.id, one.critique) for one in constitution.principles[:3]]))

# %% Revise about ten prompts, and let the judge label pairs of replies to the others
settings = ["comparisons.responder=assistant", "comparisons.human=[]"]
recipe = load_recipe(Path(__file__).with_name("microworld.yaml"), settings).limited(10)
run = RunFolder(Path("runs/notebook"))
figures = run_recipe(recipe, run, steps=("revisions", "preferences"))

# %% What each round of revision did, and the data as DataFrames
print(pd.DataFrame(figures["harm_by_round"]))
revised = pd.read_parquet(run.dataset("sft") / "train")
pairs = pd.read_parquet(run.dataset("preferences") / "train")
print(revised["origin"].value_counts())
pairs["reply"] = [turns[-1]["content"] for turns in pairs["chosen"]]
columns = ["p_chosen", "principle", "reply"]
print(pairs.nlargest(5, "p_chosen")[columns].to_string(max_colwidth=40))
