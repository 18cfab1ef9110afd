"""Declarations of known architectures, by transformers model type or by class; no library is imported for them."""

from nino.graphs.architectures.bert import declare_bert
from nino.graphs.architectures.gpt2 import declare_gpt2
from nino.graphs.architectures.llama import declare_llama
from nino.graphs.architectures.vit import declare_torchvision_vit, declare_vit

__all__ = ["declare_bert", "declare_gpt2", "declare_llama", "declare_torchvision_vit", "declare_vit"]
