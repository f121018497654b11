"""Meta-evaluation: how far metrics agree with the errors that radiologists counted in reports (``bench meta``)."""
