"""One package, so that processes that tests start find the functions they are given."""
