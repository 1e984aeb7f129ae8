"""Studies: tables of many experiments, from a YAML file each, run by DVC and set beside a paper's.

Nothing in here imports torch. `spec` reads a study, `plan` makes experiments of it, `overrides`
their params from a preset, `scale` a rehearsal, `run` and `worker` run them, `results` finds what
has run, `table` sums it up, and `show` writes it down.
"""
