"""Systems that write the findings of chest radiographs, and the image encoders they share.

One module or package a system. Imports nothing of `metrics`; found by the harness through entry points.
"""
