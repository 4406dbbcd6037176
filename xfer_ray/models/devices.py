"""What PyTorch can compute on, on this machine. `python -m xfer_ray.models.devices` prints it as one JSON document."""

from __future__ import annotations

import json

import torch


def describe() -> dict[str, object]:
    """PyTorch's version, the CUDA it was built for (None: CPUs only), and each GPU that it can use."""
    gpus = [_gpu(number) for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": gpus}


def _gpu(number: int) -> dict[str, object]:
    facts = torch.cuda.get_device_properties(number)
    return {"name": facts.name, "bytes": facts.total_memory, "bf16": facts.major >= 8}  # from Ampere on bfloat16 is in hardware


if __name__ == "__main__":
    print(json.dumps(describe()))
