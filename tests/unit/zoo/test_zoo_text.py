"""Byte corpora against the bytes of the files that they are made of."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sysconfig
from pathlib import Path

import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.zoo import text
from flops_fit.zoo.text import ByteText, PythonSources, split_of


def held_out(name: str) -> bool:
    """The split of 5% by its definition: each twentieth hash."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") % 20 == 0


def write_corpus(root: Path, n_files: int = 60) -> dict[str, bytes]:
    """Files whose content names them, in two folders; returns their bytes by relative path."""
    files = {f"part{i % 2}/file{i}.txt": f"<{i}>".encode() * (i % 7 + 1) for i in range(n_files)}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return files


def joined(files: dict[str, bytes], *, validation: bool) -> bytes:
    return b"".join(
        content + b"\0" for name, content in sorted(files.items()) if held_out(name) == validation
    )


def as_bytes(tokens: torch.Tensor) -> bytes:
    assert tokens.dtype == torch.int64
    return bytes(tokens.tolist())


def prepared(tmp_path: Path, name: str = "data", **kwargs) -> Path:
    ByteText.prepare(tmp_path / name, root=tmp_path / "corpus", seq_len=8, **kwargs)
    return tmp_path / name


def opened(tmp_path: Path, split: str = "train", seq_len: int = 8, name: str = "data", **kwargs):
    root = tmp_path / "corpus"
    return ByteText(split, tmp_path / name, root=root, seq_len=seq_len, **kwargs)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("seq_len", [1, 5, 8])
def test_samples_are_consecutive_windows_of_the_files(tmp_path, split, seq_len):
    files = write_corpus(tmp_path / "corpus")
    prepared(tmp_path)
    dataset = opened(tmp_path, split, seq_len)
    expected = joined(files, validation=split == "validation")
    assert dataset.n_tokens == len(expected)
    assert len(dataset) == (len(expected) - 1) // seq_len
    for index in range(len(dataset)):
        start = index * seq_len
        inputs, targets = dataset[index]
        assert as_bytes(inputs) == expected[start : start + seq_len]
        assert as_bytes(targets) == expected[start + 1 : start + seq_len + 1]
    for outside in (len(dataset), -1):
        with pytest.raises(IndexError, match=f"Sample {outside} of {len(dataset)}"):
            dataset[outside]


def test_units(tmp_path):
    write_corpus(tmp_path / "corpus")
    prepared(tmp_path)
    dataset = opened(tmp_path, seq_len=5)
    assert (dataset.unit, dataset.units_per_sample, dataset.vocab_size) == ("token", 5, 256)


def test_five_percent_is_each_twentieth_hash():
    names = [f"folder/{i}.py" for i in range(500)]
    assert [split_of(name, 5) == "validation" for name in names] == [held_out(n) for n in names]


@pytest.mark.parametrize("percent", [1, 3, 37, 50, 99])
def test_share_of_held_out_files(percent):
    splits = [split_of(f"folder/{i}.py", percent) for i in range(20_000)]
    # A binomial share: 5 standard deviations around the mean.
    deviation = (percent * (100 - percent) / 20_000) ** 0.5
    assert 100 * splits.count("validation") / 20_000 == pytest.approx(percent, abs=5 * deviation)


def test_adding_a_file_moves_no_other(tmp_path):
    files = write_corpus(tmp_path / "corpus")
    before = prepared(tmp_path)
    added = {f"more/{i}.txt": f"added {i}".encode() for i in range(30)}
    for name, content in added.items():
        (tmp_path / "corpus" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "corpus" / name).write_bytes(content)
    after = prepared(tmp_path, "again")
    for split in ("train", "validation"):
        old = (before / f"{split}.bin").read_bytes().split(b"\0")
        new = (after / f"{split}.bin").read_bytes().split(b"\0")
        assert set(old) - {b""} < set(new)
        assert (after / f"{split}.bin").read_bytes() == joined(
            files | added, validation=split == "validation"
        )


def test_empty_and_repeated_contents_are_dropped(tmp_path):
    files = write_corpus(tmp_path / "corpus")
    prepared(tmp_path)
    for i in range(40):  # enough names that some hash into either split
        (tmp_path / "corpus" / f"z{i}.txt").write_bytes(b"")
        (tmp_path / "corpus" / f"zz{i}.txt").write_bytes(files["part0/file0.txt"])
    again = prepared(tmp_path, "again")
    for split in ("train", "validation"):
        expected = joined(files, validation=split == "validation")
        assert (again / f"{split}.bin").read_bytes() == expected


def test_pattern_and_share_choose_the_files(tmp_path):
    files = write_corpus(tmp_path / "corpus")
    (tmp_path / "corpus" / "other.md").write_bytes(b"not asked for")
    folder = prepared(tmp_path, pattern="file*1.txt", validation_percent=50)
    total = sum((folder / f"{split}.bin").stat().st_size for split in ("train", "validation"))
    assert total == sum(len(c) + 1 for name, c in files.items() if name.endswith("1.txt"))
    validation = (folder / "validation.bin").read_bytes()
    assert validation == b"".join(
        content + b"\0"
        for name, content in sorted(files.items())
        if name.endswith("1.txt") and split_of(name, 50) == "validation"
    )


def test_fingerprint_follows_the_content_and_not_the_place(tmp_path):
    first, second = tmp_path / "a", tmp_path / "elsewhere" / "b"
    for base in (first, second):
        write_corpus(base / "corpus")
        prepared(base)
    fingerprint = opened(first).content_fingerprint
    assert opened(second).content_fingerprint == fingerprint
    assert opened(first, "validation", seq_len=3).content_fingerprint == fingerprint
    names = sorted(write_corpus(second / "corpus"))
    for validation in (False, True):  # a change in either split alone
        changed = next(name for name in names if held_out(name) == validation)
        write_corpus(second / "corpus")
        (second / "corpus" / changed).write_bytes(b"something else")
        folder = prepared(second, f"changed-{validation}")
        other = opened(second, name=folder.name).content_fingerprint
        assert other != fingerprint


def test_second_prepare_does_nothing(tmp_path):
    write_corpus(tmp_path / "corpus")
    folder = prepared(tmp_path)
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}
    (tmp_path / "corpus" / "part0" / "file0.txt").write_bytes(b"changed behind its back")
    prepared(tmp_path)
    after = {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}
    assert after == before
    assert set(before) == {"train.bin", "validation.bin", "text.json"}


@pytest.mark.parametrize("killed_at", [0, 1, 2])
def test_a_killed_prepare_leaves_nothing_half_valid(tmp_path, monkeypatch, killed_at):
    files = write_corpus(tmp_path / "corpus")
    renames = []

    def dying_replace(source, target):
        if len(renames) == killed_at:
            raise KeyboardInterrupt
        renames.append(target)
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(text.os, "replace", dying_replace)
        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path)
    with pytest.raises(UserError, match=r"holds no prepared text; run ByteText\.prepare first"):
        opened(tmp_path)
    prepared(tmp_path)
    assert (tmp_path / "data" / "train.bin").read_bytes() == joined(files, validation=False)
    assert len(opened(tmp_path)) > 0


def test_workers_and_pickling_carry_no_corpus(tmp_path):
    write_corpus(tmp_path / "corpus", n_files=2000)
    prepared(tmp_path)
    dataset = opened(tmp_path)
    first = dataset[0]
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 2000 < dataset.n_tokens
    assert all(torch.equal(a, b) for a, b in zip(pickle.loads(pickled)[0], first, strict=True))
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=1)
    inputs, targets = next(iter(loader))
    assert inputs.shape == targets.shape == (4, 8)
    assert torch.equal(inputs[0], first[0])


def test_a_damaged_file_is_refused(tmp_path):
    write_corpus(tmp_path / "corpus")
    folder = prepared(tmp_path)
    (folder / "train.bin").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"train\.bin holds 3 bytes where text\.json says"):
        opened(tmp_path)
    (folder / "train.bin").unlink()
    with pytest.raises(UserError, match=r"train\.bin holds 0 bytes"):
        opened(tmp_path)


def test_a_folder_of_other_settings_is_refused(tmp_path):
    write_corpus(tmp_path / "corpus")
    prepared(tmp_path)
    with pytest.raises(UserError, match="use another folder or delete it"):
        opened(tmp_path, validation_percent=10)
    with pytest.raises(UserError, match="use another folder or delete it"):
        prepared(tmp_path, pattern="*1.txt")


@pytest.mark.parametrize(("keep", "empty"), [(True, "train"), (False, "validation")])
def test_an_empty_split_is_named(tmp_path, keep, empty):
    for name in write_corpus(tmp_path / "corpus"):
        if held_out(name) != keep:
            (tmp_path / "corpus" / name).unlink()
    with pytest.raises(UserError, match=f"The {empty} split of .* is empty"):
        prepared(tmp_path)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_split_shorter_than_a_sample_is_refused(tmp_path):
    files = write_corpus(tmp_path / "corpus")
    prepared(tmp_path)
    size = len(joined(files, validation=True))
    assert len(opened(tmp_path, "validation", seq_len=size - 1)) == 1
    with pytest.raises(UserError, match=rf"validation split holds {size} bytes, fewer than"):
        opened(tmp_path, "validation", seq_len=size)


def test_an_unreadable_file_is_named(tmp_path):
    write_corpus(tmp_path / "corpus")
    (tmp_path / "corpus" / "broken.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"Cannot read .*broken\.txt \(No such file"):
        prepared(tmp_path)
    assert list((tmp_path / "data").iterdir()) == []


def test_roots_without_texts_are_refused(tmp_path):
    with pytest.raises(UserError, match="corpus is no folder"):
        prepared(tmp_path)
    (tmp_path / "corpus").mkdir()
    with pytest.raises(UserError, match="No text files were found under"):
        prepared(tmp_path)


@pytest.mark.parametrize("percent", [0, 100, 5.0, "5", True])
def test_shares_outside_1_to_99_are_refused(tmp_path, percent):
    with pytest.raises(UserError, match="expected an integer from 1 to 99"):
        prepared(tmp_path, validation_percent=percent)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"split": "test"}, "split is 'test'; expected one of train, validation"),
        ({"seq_len": 0}, "seq_len is 0; expected an integer"),
        ({"seq_len": 8.0}, "seq_len is 8.0; expected an integer"),
    ],
)
def test_impossible_requests_are_refused(tmp_path, kwargs, message):
    with pytest.raises(UserError, match=message):
        opened(tmp_path, **kwargs)


@pytest.fixture(scope="module")
def python_sources(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("python")
    PythonSources.prepare(folder, seq_len=128)
    return folder


def test_python_sources_are_the_standard_library(python_sources):
    root = Path(sysconfig.get_path("stdlib"))
    meta = json.loads((python_sources / "text.json").read_text())
    for split in ("train", "validation"):
        content = (python_sources / f"{split}.bin").read_bytes()
        assert len(content) == meta["n_tokens"][split]
    both = [(python_sources / f"{split}.bin").read_bytes() for split in ("train", "validation")]
    for name in ("json/decoder.py", "ast.py", "asyncio/base_events.py", "email/parser.py"):
        source = (root / name).read_bytes() + b"\0"
        assert source in both[held_out(name)]
        assert source not in both[not held_out(name)]
    # Sources hold no zero byte, so that splitting at it gives the files back.
    files = [set(content.split(b"\0")[:-1]) for content in both]
    assert not files[0] & files[1]
    assert len(files[0]) + len(files[1]) == sum(meta["n_files"].values())
    for left_out in (
        "test/support/__init__.py",
        "unittest/test/__init__.py",
        "ctypes/test/__init__.py",
    ):
        source = (root / left_out).read_bytes() if (root / left_out).exists() else b""
        assert not source or source not in files[0] | files[1]


def test_python_sources_samples_and_fingerprint(python_sources, tmp_path):
    dataset = PythonSources("validation", python_sources, seq_len=128)
    content = (python_sources / "validation.bin").read_bytes()
    inputs, targets = dataset[7]
    assert as_bytes(inputs) == content[7 * 128 : 8 * 128]
    assert as_bytes(targets) == content[7 * 128 + 1 : 8 * 128 + 1]
    PythonSources.prepare(tmp_path / "elsewhere")
    again = PythonSources("train", tmp_path / "elsewhere", seq_len=64)
    assert again.content_fingerprint == dataset.content_fingerprint
