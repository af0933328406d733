"""From measurements on a board to cycles of networks never measured."""
