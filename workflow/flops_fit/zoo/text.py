"""Byte-level text: any folder of files, or the Python standard library that is already there.

`prepare` joins the files once into two flat files of bytes; samples are windows into them, mapped
into memory, so that a corpus larger than memory costs nothing to open.
"""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from flops_fit.errors import UserError

SPLITS = ("train", "validation")
_FILE_END = b"\0"
_META = "text.json"
_FORMAT = 1
_NOT_SOURCES = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
)


class PreparedBytes(Dataset):
    """Windows of `seq_len` bytes over one split of a corpus that `prepare` has laid down.

    Sample i covers the bytes from i * seq_len to (i + 1) * seq_len, both included: the first
    `seq_len` of them are the input, the last `seq_len` the target. Every byte but the split's
    first is thus predicted at most once.

    Parameters
    ----------
    split : {"train", "validation"}
    folder : path
        Where `prepare` has written.
    seq_len : int
        Bytes per sample.
    settings : mapping
        What the corpus was asked to be; must equal what `prepare` was given.

    Raises
    ------
    UserError
        An unknown split or impossible `seq_len`, a folder that is not prepared, or was prepared
        with other settings, or is damaged, or a split shorter than one sample.
    """

    unit = "token"
    vocab_size = 256

    def __init__(
        self, split: str, folder: str | Path, *, seq_len: int, settings: Mapping[str, Any]
    ) -> None:
        name = type(self).__name__
        if split not in SPLITS:
            raise UserError(f"{name}: split is {split!r}; expected one of {', '.join(SPLITS)}.")
        if isinstance(seq_len, bool) or not isinstance(seq_len, int) or seq_len < 1:
            raise UserError(f"{name}: seq_len is {seq_len!r}; expected an integer of at least 1.")
        meta = _read_meta(Path(folder), settings)
        if meta is None:
            raise UserError(f"{name}: {folder} holds no prepared text; run {name}.prepare first.")
        self.split = split
        self.seq_len = seq_len
        self.units_per_sample = seq_len
        self.content_fingerprint: str = meta["content_fingerprint"]
        self.n_tokens: int = meta["n_tokens"][split]
        self._path = Path(folder) / f"{split}.bin"
        self._tokens: np.ndarray | None = None
        found = self._path.stat().st_size if self._path.exists() else 0
        if found != self.n_tokens:
            raise UserError(
                f"{name}: {self._path} holds {found} bytes where {_META} says {self.n_tokens}; "
                "delete the folder and prepare it again."
            )
        if len(self) == 0:
            raise UserError(
                f"{name}: the {split} split holds {self.n_tokens} bytes, fewer than one sample of "
                f"seq_len + 1 = {seq_len + 1}; add text or lower seq_len."
            )

    def __len__(self) -> int:
        # The last byte of a sample is only a target, hence one byte more than the inputs.
        return max(self.n_tokens - 1, 0) // self.seq_len

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return sample `index` as (input, target), int64, shape (seq_len,) each."""
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} of {len(self)} in the {self.split} split.")
        if self._tokens is None:
            self._tokens = np.memmap(self._path, dtype=np.uint8, mode="r")
        start = index * self.seq_len
        window = self._tokens[start : start + self.seq_len + 1].astype(np.int64)
        tokens = torch.from_numpy(window)  # (seq_len + 1,)
        return tokens[:-1], tokens[1:]

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map would carry the whole corpus to every loader process.
        return self.__dict__ | {"_tokens": None}


class ByteText(PreparedBytes):
    """The text files under one folder, read as bytes.

    Empty files and repeated contents are dropped, so that no text is both trained on and held
    out. Whole files are held out, by the hash of their path (`split_of`); each file ends with a
    zero byte.

    Parameters
    ----------
    split, folder, seq_len
        As in `PreparedBytes`.
    root : path
        Folder of the files; a relative one starts at the working directory.
    pattern : str
        Glob pattern of the files, matched in all subfolders.
    validation_percent : int
        Share of the files that is held out, from 1 to 99.
    """

    def __init__(
        self,
        split: str,
        folder: str | Path,
        *,
        root: str | Path,
        seq_len: int,
        pattern: str = "*.txt",
        validation_percent: int = 5,
    ) -> None:
        settings = _settings(root, pattern, validation_percent)
        super().__init__(split, folder, seq_len=seq_len, settings=settings)

    @classmethod
    def prepare(
        cls,
        folder: str | Path,
        *,
        root: str | Path,
        seq_len: int | None = None,
        pattern: str = "*.txt",
        validation_percent: int = 5,
    ) -> None:
        """Write both splits into `folder`, unless they are there already.

        Raises
        ------
        UserError
            A root that is no folder, a file that cannot be read, a share outside 1 to 99, a split
            without any text, or a folder prepared with other settings.
        """
        settings = _settings(root, pattern, validation_percent)
        base = Path(root).expanduser()
        if not base.is_dir():
            raise UserError(f"{cls.__name__}: root {base} is no folder; expected one of texts.")
        files = _files(base, pattern)
        prepare_bytes(folder, base, files, validation_percent=validation_percent, settings=settings)


class PythonSources(PreparedBytes):
    """The running interpreter's standard library as text: a real corpus that needs no download.

    Its `*.py` files without tests and installed packages; about 12 MB for Python 3.11. Otherwise
    as `ByteText` with 5% of the files held out.
    """

    def __init__(self, split: str, folder: str | Path, *, seq_len: int) -> None:
        super().__init__(split, folder, seq_len=seq_len, settings={})

    @classmethod
    def prepare(cls, folder: str | Path, *, seq_len: int | None = None) -> None:
        """Write both splits into `folder`, unless they are there already."""
        root = Path(sysconfig.get_path("stdlib"))
        files = (
            path
            for path in _files(root, "*.py")
            if _NOT_SOURCES.isdisjoint(path.relative_to(root).parts)
        )
        prepare_bytes(folder, root, files, validation_percent=5, settings={})


def split_of(relative_path: str, validation_percent: int) -> str:
    """Name the split of a file: a function of its path alone, so that it never moves.

    A file added or removed leaves all others where they are.

    Parameters
    ----------
    relative_path : str
        With forward slashes, from the corpus' root.
    validation_percent : int
        Share of validation files, from 1 to 99.
    """
    bucket = int(hashlib.sha256(relative_path.encode()).hexdigest(), 16)
    # Takes `validation_percent` of the 100 remainders, evenly spread: for 5, each twentieth.
    held_out = bucket * validation_percent % 100 < validation_percent
    return "validation" if held_out else "train"


def prepare_bytes(
    folder: str | Path,
    root: Path,
    files: Iterable[Path],
    *,
    validation_percent: int,
    settings: Mapping[str, Any],
) -> None:
    """Join `files` into `train.bin`, `validation.bin` and `text.json` under `folder`.

    Files are taken in the order of their paths below `root`. Each is written aside and renamed,
    `text.json` last: without it the folder counts as not prepared, so a killed process leaves
    nothing that looks like a corpus. The content fingerprint hashes the tokens of both splits.

    Raises
    ------
    UserError
        A file that cannot be read, a split without text, or a folder prepared with other settings.
    """
    folder = Path(folder)
    if _read_meta(folder, settings) is not None:
        return
    by_name = sorted((path.relative_to(root).as_posix(), path) for path in files)
    if not by_name:
        raise UserError(f"No text files were found under {root}; check root and pattern.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".preparing-") as aside:
        hashes = {split: hashlib.sha256() for split in SPLITS}
        n_tokens = dict.fromkeys(SPLITS, 0)
        n_files = dict.fromkeys(SPLITS, 0)
        streams = {split: (Path(aside) / f"{split}.bin").open("wb") for split in SPLITS}
        try:
            for name, content in _distinct(by_name):
                split = split_of(name, validation_percent)
                text = content + _FILE_END
                streams[split].write(text)
                hashes[split].update(text)
                n_tokens[split] += len(text)
                n_files[split] += 1
        finally:
            for stream in streams.values():
                stream.close()
        for split in SPLITS:
            if n_files[split] == 0:
                raise UserError(
                    f"The {split} split of {root} is empty: none of its {sum(n_files.values())} "
                    "distinct files belongs to it; cut the text into more files or change "
                    "validation_percent."
                )
        meta = {
            "format": _FORMAT,
            "settings": dict(settings),
            "n_files": n_files,
            "n_tokens": n_tokens,
            "content_fingerprint": _fingerprint(hashes[split].digest() for split in SPLITS),
        }
        (Path(aside) / _META).write_text(json.dumps(meta, indent=1) + "\n")
        for written in (*(f"{split}.bin" for split in SPLITS), _META):
            _sync(Path(aside) / written)
            os.replace(Path(aside) / written, folder / written)


def _files(root: Path, pattern: str) -> Iterator[Path]:
    # Not `is_file`: a broken link must be an error, not a file that is silently missing.
    return (path for path in root.rglob(pattern) if not path.is_dir())


def _distinct(by_name: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, bytes]]:
    """Read the files one at a time, leaving out empty ones and contents seen before."""
    seen: set[bytes] = set()
    for name, path in by_name:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"Cannot read {path} ({error.strerror}); mend or remove the file."
            ) from error
        digest = hashlib.sha256(content).digest()
        if content and digest not in seen:
            seen.add(digest)
            yield name, content


def _settings(root: str | Path, pattern: str, validation_percent: int) -> dict[str, Any]:
    is_integer = isinstance(validation_percent, int) and not isinstance(validation_percent, bool)
    if not is_integer or not 1 <= validation_percent <= 99:
        raise UserError(
            f"validation_percent is {validation_percent!r}; expected an integer from 1 to 99."
        )
    return {"root": str(root), "pattern": pattern, "validation_percent": validation_percent}


def _read_meta(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `text.json`, or None where the folder is not prepared."""
    path = folder / _META
    if not path.exists():
        return None
    meta = json.loads(path.read_text())
    if meta["format"] != _FORMAT or meta["settings"] != dict(settings):
        raise UserError(
            f"{folder} was prepared as format {meta['format']} with {meta['settings']}, and is "
            f"asked for as format {_FORMAT} with {dict(settings)}; use another folder or delete it."
        )
    return meta


def _fingerprint(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"uint8" + b"".join(digests)).hexdigest()


def _sync(path: Path) -> None:
    """Force a file to disk, so that a rename never outlives the content in a power cut."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
