"""The PC-DARTS cells of arXiv 2507.15545 and the search in them; only `supernet`, `expected`, `strategy` need torch."""
