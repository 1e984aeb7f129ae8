"""How good a trained encoder is: one file an evaluation, found by name.

`evaluations` in params.yaml names those that run, for every arm and seed; what begins with an
underscore is shared code. A file `<name>.py` has

    class Params(Section)       the block <name> of evaluations.yaml; a leaf that is left out
                                takes its default. Wherever in the block a leaf is called `root`, it
                                is a folder outside: its files are listed at every `dvc repro`, and
                                the evaluation runs again when they have changed
    metrics(params)             {name: title} of the numbers that the report shows, in this order;
                                those that a result does not have are left out
    evaluate(encoder, store, params, seed, state)
                                {name: value}, JSON-able: these numbers, and other facts. Or
                                {"skipped": why}; and "note", a sentence for the report

`evaluate` leaves `encoder` as it is: what is fine-tuned is a copy. Of several trainings, each is
kept by itself: `part = state.part(name); part.once(lambda: train(…, part))` (`common.state`), so
that a killed evaluation goes on to the same bits. Numbers are of the last epoch, never of the best.
"""
