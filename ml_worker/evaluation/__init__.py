"""How good a model is, on data it was not trained on."""
