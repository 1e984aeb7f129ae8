"""Whole params files, one a recipe; `sepp preset` writes them."""
