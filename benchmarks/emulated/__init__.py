"""The package with an accelerator that computes on the CPU: what would lie on two devices on a GPU fails here.

    python -m benchmarks.emulated train …                        # any command; REALM_TEST_DEVICE=emulated for tests:
    REALM_TEST_DEVICE=emulated python -m pytest -p benchmarks.emulated tests/training/test_shared_prefix.py
    python -m benchmarks.emulated benchmarks/exact.py …          # a benchmark

It needs a C++ compiler and ninja, and takes a minute the first time. It does not tell how fast a GPU is, how its
kernels round, and what libraries do only where there is CUDA.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import transformers.training_args
from torch.utils.cpp_extension import load

NAME = "emulated"
_BUILT: Any = load(f"realm_{NAME}", [str(Path(__file__).with_name("device.cpp"))], extra_cflags=["-O1", "-w"])


def counts() -> dict[str, int]:
    """How often each operation ran on it."""
    return dict(_BUILT.counts())


def _module() -> ModuleType:
    """What torch asks of a kind of device, in Python."""
    module: Any = ModuleType(f"torch.{NAME}")
    module.is_available = module.is_initialized = module.is_bf16_supported = lambda *_: True
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module._is_in_bad_fork = lambda: False
    module.synchronize = module.empty_cache = module.set_device = lambda *_: None
    module.manual_seed = module.manual_seed_all = lambda _: None  # draws without a generator are the CPU's
    module.get_rng_state = lambda *_: torch.get_rng_state()
    module.set_rng_state = lambda state, *_: torch.set_rng_state(state)
    module.get_rng_state_all = lambda: [torch.get_rng_state()]
    module.set_rng_state_all = lambda states: torch.set_rng_state(states[0])
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    module.device = nullcontext
    return module


torch.utils.rename_privateuse1_backend(NAME)
torch._register_device_module(NAME, _module())
torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)
# Otherwise each of two tied weights would get a tensor of its own when a model moves.
torch.__future__.set_swap_module_params_on_conversion(True)
os.environ["ACCELERATE_TORCH_DEVICE"] = NAME
transformers.training_args.is_torch_bf16_gpu_available = lambda: True  # asks CUDA and few others by name
