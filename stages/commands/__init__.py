"""The commands of `sepp` that are no stage: one file each, found by its name."""
