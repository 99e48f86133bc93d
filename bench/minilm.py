"""What `transformers`, PEFT and PyTorch make of MiniLM: sentence embeddings of 100 mails, the gradients of low-rank adapters, and how long a
batch takes on one thread: forward, with the gradients of all parameters, and with those of adapters of rank 8 on queries and values.

    experiments/get-data.sh minilm spam
    pip install torch transformers peft
    python bench/minilm.py && cargo test --release --features text --test minilm -- --nocapture
"""

import json
import statistics
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoTokenizer

DATA = Path(__file__).parent.parent / "experiments/data"
LENGTH, BATCH, RANK = 32, 16, 8
torch.set_num_threads(1)

with open(DATA / "spam/mails.jsonl") as lines:
    mails = [line for _, line in zip(range(100), lines)]
texts = [json.loads(line)["text"] for line in mails]
tokenizer = AutoTokenizer.from_pretrained(DATA / "minilm")
model = AutoModel.from_pretrained(DATA / "minilm", attn_implementation="sdpa").eval()
tokens = tokenizer(texts, truncation=True, max_length=LENGTH, padding="max_length", return_tensors="pt")
mask = tokens["attention_mask"].unsqueeze(-1).float()


def embeddings(rows):
    hidden = model(**{name: value[rows] for name, value in tokens.items()}).last_hidden_state
    return (hidden * mask[rows]).sum(1) / mask[rows].sum(1)


def median(f, repeats=9):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def loss():
    model.zero_grad()
    embeddings(slice(0, BATCH)).square().sum().backward()


with torch.no_grad():
    found = embeddings(slice(0, 100))
    forward = median(lambda: embeddings(slice(0, BATCH)))
full = median(loss)
model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["query", "value"], lora_dropout=0.0)).eval()
adapters = {name.split(".default")[0]: p for name, p in model.named_parameters() if p.requires_grad}
torch.manual_seed(1)
for factor in adapters.values():
    torch.nn.init.normal_(factor, std=0.05)
adapted = median(loss)
# `W + B A`: U of metadsl is B, and V the transpose of A.
factors = {}
for name, factor in adapters.items():
    place, which = name.removeprefix("base_model.model.").rsplit(".lora_", 1)
    of = lambda matrix: (matrix if which == "B" else matrix.T).flatten().tolist()
    factors[f"{place}.weight.{'U' if which == 'B' else 'V'}"] = {"value": of(factor.detach()), "gradient": of(factor.grad)}
values = {"mails": "".join(mails), "ids": tokens["input_ids"].tolist(), "embeddings": found.tolist(), "factors": factors}
values |= {"forward": forward, "full": full, "adapters": adapted}
(DATA / "minilm/embeddings.json").write_text(json.dumps(values))
print(f"PyTorch {torch.__version__}, one thread, {BATCH} x {LENGTH} tokens: forward {forward * 1e3:.1f} ms, with a full backward {full * 1e3:.1f} ms, "
      f"with that of adapters {adapted * 1e3:.1f} ms")
