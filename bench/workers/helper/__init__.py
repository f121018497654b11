"""What a worker finds on its path: `bench_worker`, and nothing else of the harness."""
