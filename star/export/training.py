"""Training of an exported model on a text file, from scratch or from its weights."""

import argparse
import json
from pathlib import Path

import model as exported
import torch
import torch.nn.functional as F


def write_safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors as `model.py` reads them."""
    header, blocks, end = {}, [], 0
    for name, tensor in tensors.items():
        data = tensor.detach().float().cpu().contiguous().flatten()
        header[name] = {"dtype": "F32", "shape": [*tensor.shape], "data_offsets": [end, end + 4 * len(data)]}
        blocks.append(bytes(data.view(torch.uint8).tolist()))
        end += 4 * len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


def main() -> None:
    """Train as the command line says, and write the weights."""
    form = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description="Train the model on a text file.", formatter_class=form)
    parser.add_argument("text", type=Path, help="a text file")
    parser.add_argument("--from", dest="start", type=Path, help="weights to begin with, such as model.safetensors")
    parser.add_argument("--out", type=Path, default=Path("trained.safetensors"), help="where the weights go")
    parser.add_argument("--steps", type=int, default=1000, help="of the optimizer")
    parser.add_argument("--batch", type=int, default=8, help="sequences of a step")
    parser.add_argument("--length", type=int, default=256, help="tokens of a sequence")
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of torch")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    model = (exported.load(given.start) if given.start else exported.LanguageModel()).to(given.device).train()
    tokens = torch.tensor(exported.encode(given.text.read_bytes()))
    if len(tokens) <= given.length:
        parser.exit(2, f"{given.text} has {len(tokens)} tokens, not more than the {given.length} of a sequence\n")
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, given.rate, total_steps=given.steps, pct_start=0.1)
    for step in range(1, given.steps + 1):
        starts = torch.randint(len(tokens) - given.length, (given.batch,)).tolist()
        batch = torch.stack([tokens[i : i + given.length + 1] for i in starts]).to(given.device)
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        for layer in model.modules():
            if hasattr(layer, "rebalance"):  # experts: those with much load are chosen less
                layer.rebalance(1e-3)
        if step % 100 == 0 or step == given.steps:
            print(f"step {step:,} of {given.steps:,}: loss {loss.item():.4f} nats a token", flush=True)
    write_safetensors(model.weights(), given.out)


if __name__ == "__main__":
    main()
