"""Experiments side by side: what git holds of each, what differs, a table, charts, a page.

Nothing in here imports torch, or DVC: an experiment of DVC is a commit under `refs/exps/`, in which
params.yaml and reports/summary.json are as its run has left them.
"""
