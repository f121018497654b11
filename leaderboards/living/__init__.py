"""Living leaderboards: a folder of runs, each verified by scoring its reports again, published as a static site."""
