"""Pictures of finished runs: what is drawn is measured first, as numbers, and drawn by matplotlib only where asked for.

Each kind has a module with a function that reads runs and returns its data, one that gives the data's rows for CSV, and
one that draws them.
"""
