"""Pages to look at in a browser: what all of them share, and the page of a run (``bench report``)."""
