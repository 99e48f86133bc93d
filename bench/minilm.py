"""What `transformers` and PyTorch make of MiniLM: sentence embeddings of 100 mails, and how long a batch takes on one thread.

    experiments/get-data.sh minilm spam
    pip install torch transformers
    python bench/minilm.py && cargo test --release --features text --test minilm -- --nocapture
"""

import json
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

DATA = Path(__file__).parent.parent / "experiments/data"
LENGTH, BATCH = 32, 16
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


def backward():
    model.zero_grad()
    embeddings(slice(0, BATCH)).square().sum().backward()


with torch.no_grad():
    found = embeddings(slice(0, 100))
    forward = median(lambda: embeddings(slice(0, BATCH)))
full = median(backward)
values = {"mails": "".join(mails), "ids": tokens["input_ids"].tolist(), "embeddings": found.tolist()}
values |= {"forward_seconds": forward, "backward_seconds": full}
(DATA / "minilm/embeddings.json").write_text(json.dumps(values))
print(f"PyTorch {torch.__version__}, one thread, {BATCH} x {LENGTH} tokens: forward {forward * 1e3:.1f} ms, with a full backward {full * 1e3:.1f} ms")
