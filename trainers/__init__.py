"""The trainers: SFT, preference model and RL, each a thin layer over TRL."""
