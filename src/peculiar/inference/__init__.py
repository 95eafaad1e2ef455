"""Networks in use: on a whole mesh, in tiles, on a cluster, with their model cards."""

from peculiar.inference.card_range import check_range
from peculiar.inference.model_card import ModelCard, available_models, load_model, save_model
from peculiar.inference.reconstructor import NeuralReconstructor

__all__ = ["ModelCard", "NeuralReconstructor", "available_models", "check_range", "load_model", "save_model"]
