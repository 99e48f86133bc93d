"""What `metadsl export` wrote of bench/adapter.meta, loaded back by transformers and PEFT.

    metadsl run bench/adapter.meta --json > target/adapter/run.json
    metadsl export HASH --model target/adapter/merged --adapter target/adapter/peft
    metadsl export HASH --format jsonl --output target/adapter/rows.jsonl
    python bench/adapter.py target/adapter
"""

import json
import shutil
import sys
from pathlib import Path

import peft
import torch
import transformers
from peft import PeftModel
from transformers import AutoModel

BASE = Path(__file__).parent.parent / "experiments/data/minilm"
folder = Path(sys.argv[1])
torch.set_num_threads(1)
ids = (2000 + 37 * torch.arange(32)).unsqueeze(0)


@torch.no_grad()
def numbers(model):
    hidden = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    text = hidden.mean(1)[0]
    return hidden, {"total": text.sum().item(), "square": text.square().sum().item(), "size": text.abs().sum().item()}


shutil.copy(BASE / "config.json", folder / "merged/config.json")
plain, before = numbers(AutoModel.from_pretrained(BASE))
merged, of_merged = numbers(AutoModel.from_pretrained(folder / "merged"))
adapted, of_adapter = numbers(PeftModel.from_pretrained(AutoModel.from_pretrained(BASE), folder / "peft"))

rows = [json.loads(line) for line in open(folder / "rows.jsonl")]
last = {row["measure"]: row["value"] for row in sorted(rows, key=lambda row: row["step"])}
moved = (merged - plain).abs().max().item()
apart = (merged - adapted).abs().max().item()
ours = max(abs(found[name] - last[name]) / max(1, abs(last[name])) for found in (of_merged, of_adapter) for name in last)
print(f"transformers {transformers.__version__}, PEFT {peft.__version__}, PyTorch {torch.__version__}")
print(f"training moved the last hidden state by {moved:.2e} at most")
print(f"merged model and adapter differ by {apart:.1e} there, and from what metadsl measured by {ours:.1e} (relative)")
assert moved > 0.01 and apart < 1e-5 and ours < 1e-5, (before, of_merged, of_adapter, last)
