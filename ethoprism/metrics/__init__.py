"""What predictions and labels are worth: pure functions on arrays.

States are int8: 1 present, 0 absent, −1 unobserved (see `ethoprism.annotation`). A frame is
*scored* for a behaviour where both sides know it: people observed it and the prediction covers it.
Frames that are not scored never count.

A *stretch* is a longest run of scored frames. Each is scored by itself, as though it were a
recording: a bout that an unobserved span cuts is two bouts, and no bout is matched with one of
another stretch. Bouts are runs of frames that are present, so bouts that touch are one.

What is not defined is NaN, never 0, and the number of frames and bouts stands beside it.

`frames` scores frames, `bouts` scores bouts, `calibration` scores probabilities. `summary` puts
them together from sums that are additive over recordings, which `bootstrap` draws again.
`agreement` compares annotators.
"""
