"""What STAFF is measured against: other methods' coresets, from the scores that a run has already.

One module a method; all are called alike, and each says its source.
"""
