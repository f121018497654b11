"""Chat models behind `Context.llm`: one client for all backends, and the gate that keeps credentialed text here.

A backend (`bench.llm.backend.Backend`) knows how to put one question to one model. The client around it
(`bench.llm.client.Client`) caches, checks, asks again, bounds what is in flight, and counts.
"""
