"""Writes tiny_bert.safetensors and tiny_bert.json: a small random BERT of `transformers` and what it gives.

The file of parameters is as `save_pretrained` writes it. Stored with it: token ids, the mask, the last hidden state, and for a low-rank
change `W + u v' / rank` of every query matrix with given factors the gradient of the sum of squares of the last hidden state.

    pip install torch transformers safetensors
    python tests/reference/bert.py             # writes the files
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

HERE = Path(__file__).parent
torch.manual_seed(3)
config = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, max_position_embeddings=9
)
model = BertModel(config, add_pooling_layer=False).eval()
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.5)
tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
save_file(tensors, HERE / "tiny_bert.safetensors")

model.double()
ids = torch.tensor([[3, 7, 1, 19, 0, 0]])
mask = (ids > 0).long()
RANK = 2
factors, given = [], []
for layer in model.encoder.layer:
    weight = layer.attention.self.query.weight
    u = torch.randn(8, RANK, dtype=torch.float64).round(decimals=3).requires_grad_()
    v = torch.randn(8, RANK, dtype=torch.float64).round(decimals=3).requires_grad_()
    base = weight.detach().clone()
    del layer.attention.self.query._parameters["weight"]
    layer.attention.self.query.weight = base + u @ v.T / RANK
    factors += [u, v]
    given += [u.tolist(), v.tolist()]
hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state[0]
gradients = torch.autograd.grad((hidden**2).sum(), factors)

for layer in model.encoder.layer:
    del layer.attention.self.query.weight
plain = BertModel(config, add_pooling_layer=False).eval()
plain.load_state_dict({**plain.state_dict(), **tensors})
plain.double()
with torch.no_grad():
    unchanged = plain(input_ids=ids, attention_mask=mask).last_hidden_state[0]

values = {
    "ids": ids[0].tolist(),
    "hidden": unchanged.tolist(),
    "factors": given,
    "hidden_with_factors": hidden.tolist(),
    "gradients": [g.tolist() for g in gradients],
}
(HERE / "tiny_bert.json").write_text(json.dumps(values, separators=(",", ":")) + "\n")
