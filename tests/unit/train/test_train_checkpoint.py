"""The file of a checkpoint, the signals that ask for one, and when they are talked about."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from flops_fit.launch import signals as interruption
from flops_fit.records.experiment_files import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    clear_checkpoints,
    clear_stored_records,
    state_folder,
    weights_file,
)
from flops_fit.train import agreement, checkpoint
from flops_fit.train.checkpoint import (
    UnsavableStateError,
    UnusableCheckpointError,
    decode,
    encode,
    read_checkpoint,
    write_checkpoint,
)
from flops_fit.train.model_state import collect_weights
from safetensors.torch import load_file, load_model
from torch.utils.data import DataLoader


def there_and_back(content, folder):
    write_checkpoint(folder, *encode(content))
    structure, tensors = read_checkpoint(folder / CHECKPOINT)
    return decode(structure, lambda keys, name: tensors[name])


def test_plain_values_come_back_as_they_were(tmp_path):
    content = {
        "numbers": [0, -(2**70), 0.1, 1e-320, math.inf, True, False, None],
        "text": "ä\n\u2028{}",
        "tuple": (1, (), [2, ({},)]),
        3: "a number as a key",
        None: 1,
        (1, "a"): 2,
        "deep": {"tensor": {"list": [{"dict": []}]}},
    }
    found = there_and_back(content, tmp_path)
    assert found == content
    assert repr(found) == repr(content)  # 1 and True, 0 and 0.0 are equal


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8,
     torch.bool],
)  # fmt: skip
def test_tensors_come_back_bit_for_bit(tmp_path, dtype):
    base = torch.randn(4, 6).to(dtype)
    content = {"all": base, "scalar": base[0, 0], "empty": base[:0], "part": base[:, 1:3],
               "turned": base.T}  # fmt: skip
    found = there_and_back(content, tmp_path)
    for name, tensor in content.items():
        assert (found[name].dtype, found[name].shape) == (dtype, tensor.shape)
        assert torch.equal(found[name], tensor)


def test_nan_comes_back(tmp_path):
    found = there_and_back([math.nan, torch.tensor([math.nan, -0.0])], tmp_path)
    assert math.isnan(found[0])
    assert (
        found[1].view(torch.int32).tolist()
        == torch.tensor([math.nan, -0.0]).view(torch.int32).tolist()
    )


def test_a_tensor_in_two_places_is_saved_once(tmp_path):
    weight = torch.randn(1000, 100)
    write_checkpoint(tmp_path, *encode({"table": weight, "head": weight, "row": weight[3]}))
    size = (tmp_path / CHECKPOINT).stat().st_size
    assert weight.nbytes < size < weight.nbytes + 5000
    found = there_and_back({"table": weight, "head": weight}, tmp_path)
    assert torch.equal(found["table"], found["head"])


@pytest.mark.parametrize("value", [{1, 2}, object(), torch.float32, b"bytes", 1j])
def test_what_a_file_cannot_hold_is_named(value):
    with pytest.raises(UnsavableStateError, match=r"^optimizer\.state\.0\.kind is a "):
        encode({"optimizer": {"state": {0: {"kind": value}}}})


def test_the_two_newest_are_kept_and_nothing_else(tmp_path):
    leftover = tmp_path / f".{CHECKPOINT}.999.tmp"
    leftover.write_bytes(b"half of one")
    for step in range(4):
        write_checkpoint(tmp_path, *encode({"step": step}))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {CHECKPOINT, PREVIOUS_CHECKPOINT}
    assert decode(read_checkpoint(tmp_path / CHECKPOINT)[0], None) == {"step": 3}
    assert decode(read_checkpoint(tmp_path / PREVIOUS_CHECKPOINT)[0], None) == {"step": 2}


def test_a_failed_writing_leaves_both_and_no_rest(tmp_path, monkeypatch):
    for step in range(2):
        write_checkpoint(tmp_path, *encode({"step": step}))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = checkpoint.save_file

    def full(tensors, path, metadata):
        real(tensors, path, metadata=metadata)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path, *encode({"step": 2}))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_every_flipped_bit_is_found(tmp_path):
    """All bits of a small file: each is refused, or one that means nothing (padding)."""
    content = {"step": 7, "weights": torch.arange(6, dtype=torch.float32), "on": True}
    write_checkpoint(tmp_path, *encode(content))
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    refused = 0
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            structure, tensors = read_checkpoint(path)
        except UnusableCheckpointError:
            refused += 1
            continue
        found = decode(structure, lambda keys, name, tensors=tensors: tensors[name])
        assert (found["step"], found["on"]) == (7, True)
        assert torch.equal(found["weights"], content["weights"])
    assert refused > 0.95 * len(whole)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UnusableCheckpointError):
            read_checkpoint(path)


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


def test_reading_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL", str(tmp_path / "executed"))
    path = tmp_path / CHECKPOINT
    torch.save({"model": Evil()}, path)
    pickled = path.read_bytes()
    for content in (pickled, pickle.dumps(Evil())):
        path.write_bytes(content)
        with pytest.raises(UnusableCheckpointError, match="it is damaged"):
            read_checkpoint(path)
    assert not (tmp_path / "executed").exists()


def test_clearing_leaves_weights_that_are_kept(tmp_path):
    folder = state_folder(tmp_path, "0123456789ab")
    for _ in range(2):
        write_checkpoint(folder, *encode({}))
    (folder / f".{CHECKPOINT}.1.tmp").write_text("")
    (folder / "record.json").write_text("")
    (folder / "lock").write_text("")
    kept = weights_file(tmp_path, "0123456789ab")
    checkpoint.write_weights(kept, {"a": torch.zeros(1)})
    clear_checkpoints(tmp_path, "0123456789ab")
    assert {path.name for path in folder.iterdir()} == {"record.json", "lock"}
    write_checkpoint(folder, *encode({}))
    clear_stored_records(tmp_path, ["0123456789ab", "never_begun"])
    assert {path.name for path in folder.iterdir()} == {"lock"}
    assert kept.exists()


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(100, 8)
        self.head = torch.nn.Linear(8, 100, bias=False)
        self.head.weight = self.table.weight


def test_weights_of_a_tied_model_are_stored_once_and_put_into_one_alike(tmp_path):
    trained, fresh = Tied(), Tied()
    path = tmp_path / "weights" / "a.safetensors"
    checkpoint.write_weights(path, collect_weights(trained, keep=True))
    assert path.stat().st_size < 100 * 8 * 4 + 500
    assert set(load_file(path)) == {"table.weight"}
    assert load_model(fresh, path) == (set(), [])
    assert torch.equal(fresh.head.weight, trained.table.weight)


# Agreement ----------------------------------------------------------------------------------------


class Group:
    """Processes that are played one after the other: their wishes are added up as they come."""

    def __init__(self, processes: int) -> None:
        self.num_processes = processes
        self.device = torch.device("cpu")
        self.spoken: dict[int, list[int]] = {}

    def accelerator(self, rank: int, words: dict[int, torch.Tensor]):
        def reduce(tensor, reduction):
            assert reduction == "sum"
            words[rank] = tensor
            return sum(words.values())

        return SimpleNamespace(
            num_processes=self.num_processes, device=self.device, is_main_process=rank == 0,
            reduce=reduce,
        )  # fmt: skip


def test_processes_synchronise_about_once_a_second_and_never_at_different_steps(monkeypatch):
    """Two processes with clocks of their own; a step takes 4 ms, then 3 s, then 4 ms again."""
    clock = [100.0]
    monkeypatch.setattr(agreement.time, "monotonic", lambda: clock[0])
    words: dict[int, torch.Tensor] = {}
    group = Group(2)
    main, other = (agreement.Agreement(group.accelerator(rank, words)) for rank in (1, 0))
    main, other = other, main
    talked = []
    for step in range(1, 3000):
        clock[0] += 3.0 if 1000 <= step < 1400 else 0.004
        words.clear()
        # The other process speaks first, so that the main one sees the sum of both.
        clock[0] += 1e6  # its clock has nothing to do with the main one's
        other_answer = other.reach(step, save=True, leave=step > 2500)
        clock[0] -= 1e6
        answer = main.reach(step, save=False, leave=False)
        assert answer == (False, bool(words) and step > 2500)
        if words:
            assert sorted(words) == [0, 1]
            talked.append(step)
            # What the other one heard in this play lacks the main one's words.
            other.next_step = main.next_step
            assert words[1].tolist()[1:] == [0, 0]
        else:
            assert other_answer == (False, False)
    gaps = [b - a for a, b in itertools.pairwise(talked)]
    assert max(gaps) == 250
    assert gaps.count(1) >= 100  # while a step took seconds
    assert sum(gap > 1 for gap in gaps) < 20


# Signals ----------------------------------------------------------------------------------------

LOADER = """
import os, signal, subprocess
import torch
from torch.utils.data import DataLoader, Dataset
from flops_fit.launch.signals import Warned, leave_signals_to_the_trainer, signals_held_back


class Numbers(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return index


warned = Warned().listen()
loader = DataLoader(Numbers(), num_workers=2, batch_size=2,
                    worker_init_fn=leave_signals_to_the_trainer)
with signals_held_back():  # as the trainer does: its loaders are not ready at once
    batches = iter(loader)
total = next(batches).sum().item()
for number in ("TERM", "USR1", "USR2", "INT", "TERM"):
    command = ["kill", f"-{number}", "--", f"-{os.getpgid(0)}"]
    subprocess.run(command, check=True, start_new_session=True)
total += sum(batch.sum().item() for batch in batches)
print(total, signal.Signals(warned.signal).name, warned.asked())
batches = iter(loader)  # left in the middle, with workers at work
next(batches)
"""


def test_a_signal_to_a_whole_group_stops_no_loader():
    done = subprocess.run(
        [sys.executable, "-c", LOADER], start_new_session=True, capture_output=True, text=True,
        timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{sum(range(40))} SIGTERM True\n"


def test_the_first_signal_counts_and_none_does_after_the_end():
    before = {number: signal.getsignal(number) for number in (*interruption.WARNINGS, 2)}
    try:
        warned = interruption.Warned().listen()
        assert not warned.asked()
        for number in (signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert warned.asked()
        assert warned.signal == signal.SIGUSR1
        later = interruption.Warned().listen()
        later.finish()
        for number in before:
            os.kill(os.getpid(), number)
        assert not later.asked()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("status", [75, 1])
def test_the_status_is_told_to_the_launcher_where_there_is_one(tmp_path, monkeypatch, status):
    def left_with() -> int:
        with pytest.raises(SystemExit) as left:
            interruption.leave(status)
        return left.value.code

    assert os.EX_TEMPFAIL == interruption.INTERRUPTED == 75
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.delenv(interruption.STATUS_FILE, raising=False)
    assert left_with() == status
    told = tmp_path / "status"
    monkeypatch.setenv(interruption.STATUS_FILE, str(told))
    assert left_with() == status
    assert not told.exists()  # its launcher has left, and the file with it
    told.touch()
    assert left_with() == (0 if status == 75 else status)  # accelerate makes a 1 of a 75
    assert int(told.read_text()) == status
    # What was told first stands, in one piece
    told.write_text(" 75" if status == 1 else "  1")
    left_with()
    assert int(told.read_text()) == (75 if status == 1 else 1)


@pytest.mark.parametrize(
    ("content", "waits"), [("  1", True), (" 75", True), (None, True), ("", False)]
)
def test_a_process_follows_another_that_has_told_why(tmp_path, monkeypatch, content, waits):
    """Also where the launcher has read it and has gone, and the file with it."""
    waited = []
    monkeypatch.setattr(interruption.time, "sleep", waited.append)
    monkeypatch.delenv(interruption.STATUS_FILE, raising=False)
    interruption.follow()
    assert waited == []  # there is no launcher to tell
    told = tmp_path / "status"
    monkeypatch.setenv(interruption.STATUS_FILE, str(told))
    if content is not None:
        told.write_text(content)
    interruption.follow()
    assert bool(waited) == waits


def test_loaders_of_the_trainer_are_started_that_way(monkeypatch):
    from flops_fit.train import batches

    made = []
    monkeypatch.setattr(
        batches, "DataLoader", lambda *a, **k: (made.append(k), DataLoader(*a, **k))[1]
    )
    place = SimpleNamespace(device=torch.device("cpu"))
    list(batches.Batches(place).load([(1, 2)], [[0]]))
    assert made[0]["worker_init_fn"] is interruption.leave_signals_to_the_trainer
