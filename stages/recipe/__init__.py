"""What `sepp preset auto` writes: a params.yaml for the images and the machine at hand.

`images` and `machine` look at what there is, `costs` times some steps, `choose` makes a plan of
them, and `text` writes it into a preset's text.
"""
