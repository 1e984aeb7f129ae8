"""What breaks under faults: `python -m tests.faults` tries them on a small project, and says.

A case does something to the pipeline, such as kill -9 at a random moment, and checks what is
promised: one clear line at most, nothing half-written, and after a rerun the same bits as of a run
that nothing disturbed.
"""
