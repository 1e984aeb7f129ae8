"""How good a frozen encoder is: nearest neighbours and a linear classifier on its features."""
