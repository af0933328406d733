"""The `tiny` space, chains for microcontrollers; `supernet`, `architecture`, `expected` and `strategy` need torch."""
