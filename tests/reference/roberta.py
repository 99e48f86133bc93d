"""Writes tiny_roberta.safetensors and tiny_roberta.json: a small random RoBERTa of `transformers` and what it gives.

The file of parameters is as `save_pretrained` of a model with a task writes it, where all names begin with `roberta.`. Stored with it:
token ids, padded by 1, the mask, the last hidden state, and the gradient of its sum of squares by the position embeddings.

    pip install torch transformers safetensors
    python tests/reference/roberta.py          # writes the files
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import RobertaConfig, RobertaModel

HERE = Path(__file__).parent
torch.manual_seed(5)
config = RobertaConfig(
    vocab_size=20,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=10,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    pad_token_id=1,
)
model = RobertaModel(config, add_pooling_layer=False).eval()
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.5)
tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
save_file({"roberta." + name: tensor for name, tensor in tensors.items()}, HERE / "tiny_roberta.safetensors")

model.double()
ids = torch.tensor([[0, 7, 3, 19, 2, 1, 1]])
mask = (ids != 1).long()
hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state[0]
# What padding gives is nobody's business: its rows are left out.
seen = hidden[:5]
positions = model.embeddings.position_embeddings.weight
(gradient,) = torch.autograd.grad((seen**2).sum(), [positions])
values = {"ids": ids[0].tolist(), "mask": mask[0].tolist(), "hidden": seen.tolist(), "gradient": gradient.tolist()}
(HERE / "tiny_roberta.json").write_text(json.dumps(values, separators=(",", ":")) + "\n")
