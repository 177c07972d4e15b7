"""Windows as a PyTorch dataset: each once over all ranks and workers, in an order of its epoch."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from data.sampling.sources import WindowSource  # noqa: E402
from data.sampling.torchwindows import TorchWindows  # noqa: E402
from tests.data.sampling.test_sources import LENGTHS, T, identity, same  # noqa: E402
from tests.data.store.stores import write  # noqa: E402


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("torch") / "store", LENGTHS)


def loaded(dataset: TorchWindows, **options: Any) -> list[tuple[int, int, bytes]]:
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, **options)
    return [identity({name: window[name].numpy() for name in ("episode", "mask", "action")}) for window in loader]


def everything(path: Path) -> list[tuple[int, int, bytes]]:
    source = WindowSource(path, T)
    return sorted(identity(source[index]) for index in range(len(source)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_workers_share_the_windows_out(path: Path, workers: int) -> None:
    ranks = [TorchWindows(path, T, seed=5, rank=rank, world_size=2) for rank in range(2)]
    # PyTorch forks its workers, which a process with JAX's threads must not.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        shards = [process.submit(loaded, dataset, num_workers=workers).result() for dataset in ranks]
    assert min(len(shard) for shard in shards) > 30
    assert sorted(shards[0] + shards[1]) == everything(path)


def test_even_shards_are_of_one_size(path: Path) -> None:
    shards = [loaded(TorchWindows(path, T, rank=rank, world_size=7, even=True)) for rank in range(7)]
    assert {len(shard) for shard in shards} == {len(everything(path)) // 7}
    flat = [window for shard in shards for window in shard]
    assert len(set(flat)) == len(flat)


def test_an_epoch_has_an_order_of_its_own(path: Path) -> None:
    dataset = TorchWindows(path, T, seed=5)
    orders = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        orders.append(loaded(dataset))
    assert orders[0] == orders[2] != orders[1]
    assert orders[0] != loaded(TorchWindows(path, T, seed=6))
    assert sorted(orders[1]) == everything(path)


def test_batches_are_tensors_with_the_content_of_the_windows(path: Path) -> None:
    dataset = TorchWindows(path, T)
    [batch, *_] = torch.utils.data.DataLoader(dataset, batch_size=4)
    assert batch["observation"]["chars"].shape == (4, T, 24, 80)
    assert batch["observation"]["chars"].dtype == torch.uint8
    for lane, window in zip(range(4), dataset, strict=False):
        named = {name: batch[name][lane].numpy() for name in ("action", "first", "mask", "episode")}
        observation = {name: array[lane].numpy() for name, array in batch["observation"].items()}
        same({"observation": observation, **named}, window)


def test_an_impossible_rank_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="rank 2 is not in"):
        TorchWindows(path, T, rank=2, world_size=2)
