"""The store against an encoder whose right answers are known: a file holds the number that its row repeats."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import embeddings
from bench.contracts import Embeddings, Problem
from bench.embeddings import EmbeddingStore
from bench.errors import BenchError
from bench.options import Options

DIM = 3


class Bar:
    def __init__(self) -> None:
        self.done, self.notes = 0, set[str]()

    def advance(self, n: int = 1) -> None:
        self.done += n

    def note(self, text: str) -> None:
        self.notes.add(text)


class Numbers:
    """Row = (number in the file, its square, 1)."""

    Options = Options
    dim = DIM

    def __init__(self, die_after: int | None = None) -> None:
        self.calls: list[list[str]] = []
        self.die_after = die_after

    def fingerprint(self) -> str:
        return "numbers"

    def encode(self, images: Sequence[Path]) -> Embeddings:
        if self.die_after is not None and len(self.calls) >= self.die_after:
            raise KeyboardInterrupt
        self.calls.append([path.name for path in images])
        return np.array([row(path.read_text()) for path in images], np.float32).reshape(-1, DIM)

    def why_unreadable(self, image: Path) -> str | None:
        return None if image.read_text().isdigit() else "no number"

    @property
    def encoded(self) -> list[str]:
        return [name for call in self.calls for name in call]


def row(text: str) -> list[float]:
    return [float(text), float(text) ** 2, 1.0] if text.isdigit() else [np.nan] * DIM


def files(folder: Path, texts: Sequence[object]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.img" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(str(text))
    return paths


def expected(paths: Sequence[Path]) -> np.ndarray:
    return np.array([row(path.read_text()) if path.exists() else [np.nan] * DIM for path in paths], np.float32)


@contextmanager
def no_bar(title: str, total: int | None, unit: str = "") -> Iterator[Bar]:
    yield Bar()


def fetch(store: EmbeddingStore, encoder: Numbers, paths: Sequence[Path]) -> tuple[np.ndarray, list[Problem]]:
    problems: list[Problem] = []
    return store.get(encoder, paths, no_bar, problems.append), problems


def test_each_image_is_encoded_once_for_all_who_ask(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(100))
    first, again = Numbers(), Numbers()
    rows, problems = fetch(EmbeddingStore(tmp_path / "store"), first, paths[:60])
    np.testing.assert_array_equal(rows, expected(paths[:60]))
    assert rows.dtype == np.float32
    assert not problems
    rows, _ = fetch(EmbeddingStore(tmp_path / "store"), again, paths)
    np.testing.assert_array_equal(rows, expected(paths))
    assert first.encoded == [path.name for path in paths[:60]]
    assert again.encoded == [path.name for path in paths[60:]]


def test_order_and_repeats_are_those_of_the_call(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(20))
    asked = [*reversed(paths), paths[3], paths[3]]
    encoder = Numbers()
    rows, _ = fetch(EmbeddingStore(tmp_path / "store"), encoder, asked)
    np.testing.assert_array_equal(rows, expected(asked))
    assert sorted(encoder.encoded) == [path.name for path in paths]


def test_one_block_is_a_view_of_the_file_and_cannot_spoil_it(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(50))
    store = EmbeddingStore(tmp_path / "store")
    fetch(store, Numbers(), paths)
    block, _ = fetch(store, Numbers(), paths[10:40])
    base = block
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    block[:] = -1
    np.testing.assert_array_equal(fetch(store, Numbers(), paths[10:40])[0], expected(paths[10:40]))


def test_nothing_asked_nothing_done(tmp_path: Path) -> None:
    rows, problems = fetch(EmbeddingStore(tmp_path / "store"), Numbers(), [])
    assert rows.shape == (0, DIM)
    assert not problems


def test_unreadable_and_missing_files_are_rows_of_nan_told_once_and_tried_again(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", [1, "broken", 3])
    gone = tmp_path / "images" / "gone.img"
    asked = [paths[0], gone, paths[1], paths[2]]
    store = EmbeddingStore(tmp_path / "store")
    rows, problems = fetch(store, Numbers(), asked)
    np.testing.assert_array_equal(rows, expected(asked))
    assert {(p.file, p.id, p.why) for p in problems} == {
        (str(gone), "gone", "No such file or directory"),
        (str(paths[1]), "0001", "no number"),
    }
    paths[1].write_text("2222")
    encoder = Numbers()
    rows, problems = fetch(store, encoder, asked)
    assert encoder.encoded == ["0001.img"]
    assert rows[2].tolist() == row("2222")
    assert [p.id for p in problems] == ["gone"]


def test_only_broken_images(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", ["x", "y"])
    rows, problems = fetch(EmbeddingStore(tmp_path / "store"), Numbers(), paths)
    assert np.isnan(rows).all()
    assert rows.shape == (2, DIM)
    assert len(problems) == 2


def test_a_replaced_file_is_encoded_again(tmp_path: Path) -> None:
    (path,) = files(tmp_path / "images", [5])
    store = EmbeddingStore(tmp_path / "store")
    fetch(store, Numbers(), [path])
    path.write_text("6")
    os.utime(path, ns=(1, 1))  # same size, another modification time
    assert fetch(store, Numbers(), [path])[0][0, 0] == 6


def test_one_file_under_two_names_is_encoded_once(tmp_path: Path) -> None:
    (path,) = files(tmp_path / "images", [5])
    (tmp_path / "link.img").symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path / "images")
    encoder = Numbers()
    names = [path, tmp_path / "link.img", tmp_path / "folder" / path.name, tmp_path / "images" / ".." / "link.img"]
    rows, _ = fetch(EmbeddingStore(tmp_path / "store"), encoder, names)
    assert encoder.encoded == [path.name]
    assert rows[:, 0].tolist() == [5] * 4


@pytest.mark.parametrize("name", [b"a\nb", b"a\\nb", b"a b", b"\xff\xfe", "Röntgen".encode()])
def test_any_file_name_is_a_key(tmp_path: Path, name: bytes) -> None:
    paths = files(tmp_path / "images", [7, 8])
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    odd.write_text("9")
    asked = [paths[0], odd, paths[1]]
    for encoder in (Numbers(), Numbers()):
        np.testing.assert_array_equal(fetch(EmbeddingStore(tmp_path / "store"), encoder, asked)[0], expected(asked))
    assert not encoder.encoded


def test_missing_lists_what_get_would_encode(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(9))
    store = EmbeddingStore(tmp_path / "store")
    assert store.missing([*paths, paths[0], tmp_path / "gone"]) == paths
    fetch(store, Numbers(), paths[2:5])
    assert EmbeddingStore(tmp_path / "store").missing(paths) == paths[:2] + paths[5:]


# ------------------------------------------------------------------ kills


def test_a_killed_call_loses_only_the_batch_in_flight(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(300))
    killed, after = Numbers(die_after=2), Numbers()
    with pytest.raises(KeyboardInterrupt):
        fetch(EmbeddingStore(tmp_path / "store"), killed, paths)
    rows, _ = fetch(EmbeddingStore(tmp_path / "store"), after, paths)
    np.testing.assert_array_equal(rows, expected(paths))
    assert not set(killed.encoded) & set(after.encoded)
    assert len(killed.encoded) + len(after.encoded) == 300


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 30), more=st.integers(0, 10))
def test_any_torn_tail_is_cut_to_whole_entries(data: st.DataObject, n: int, more: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = files(folder / "images", range(100, 100 + n + more))
        store = EmbeddingStore(folder / "store")
        fetch(store, Numbers(), paths[:n])
        keep = data.draw(st.integers(0, store.vectors.stat().st_size), "bytes of vectors")
        keys = data.draw(st.integers(0, store.index.stat().st_size), "bytes of the index")
        whole = min(keep // (4 * DIM), store.index.read_bytes()[:keys].count(b"\n"))
        os.truncate(store.vectors, keep)
        os.truncate(store.index, keys)
        for _ in range(2):
            encoder = Numbers()
            np.testing.assert_array_equal(fetch(EmbeddingStore(folder / "store"), encoder, paths)[0], expected(paths))
            assert len(encoder.encoded) == n + more - whole
            whole = n + more
        assert store.vectors.stat().st_size == (n + more) * 4 * DIM


@settings(max_examples=30, deadline=None)
@given(junk=st.binary(min_size=1, max_size=40))
def test_a_half_written_batch_of_vectors_is_overwritten(junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = files(folder / "images", range(6))
        store = EmbeddingStore(folder / "store")
        fetch(store, Numbers(), paths[:3])
        with store.vectors.open("ab") as file:
            file.write(junk)
        np.testing.assert_array_equal(fetch(EmbeddingStore(folder / "store"), Numbers(), paths)[0], expected(paths))


SLOW_ENCODER = """
import sys, time
from pathlib import Path
sys.path[:0] = {path!r}
import importlib.util
spec = importlib.util.spec_from_file_location("store_test", {file!r})
test = importlib.util.module_from_spec(spec); spec.loader.exec_module(test)
class Slow(test.Numbers):
    def encode(self, images):
        time.sleep(0.02)
        with open({log!r}, "a") as log:
            log.writelines(path.name + "\\n" for path in images)
        return super().encode(images)
from bench import embeddings
embeddings.FIRST_CHUNK = 4
embeddings.SHORT_S = 0
paths = sorted(Path({images!r}).iterdir())
rows, _ = test.fetch(embeddings.EmbeddingStore(Path({store!r})), Slow(), paths)
test.np.testing.assert_array_equal(rows, test.expected(paths))
"""


def _start(tmp_path: Path) -> subprocess.Popen[bytes]:
    code = SLOW_ENCODER.format(
        path=[str(Path(__file__).parents[1])],
        file=__file__,
        log=str(tmp_path / "log"),
        images=str(tmp_path / "images"),
        store=str(tmp_path / "store"),
    )
    return subprocess.Popen([sys.executable, "-c", code])


def test_processes_share_the_work_and_encode_nothing_twice(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(80))
    workers = [_start(tmp_path) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert sorted((tmp_path / "log").read_text().split()) == [path.name for path in paths]


def test_kill_minus_nine_at_any_moment(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(200))
    worker = _start(tmp_path)
    while not (tmp_path / "log").exists() or len((tmp_path / "log").read_text().split()) < 40:
        assert worker.poll() is None
        time.sleep(0.01)
    worker.kill()
    worker.wait()
    encoder = Numbers()
    np.testing.assert_array_equal(fetch(EmbeddingStore(tmp_path / "store"), encoder, paths)[0], expected(paths))
    twice = set(encoder.encoded) & set((tmp_path / "log").read_text().split())
    assert len(twice) <= 4


def test_a_process_that_waits_says_so_and_takes_what_the_other_stored(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(5))
    holder, waiter = EmbeddingStore(tmp_path / "store"), EmbeddingStore(tmp_path / "store")
    bar, encoder, result = Bar(), Numbers(), list[np.ndarray]()

    @contextmanager
    def watched(title: str, total: int | None, unit: str = "") -> Iterator[Bar]:
        yield bar

    with holder._turn() as mine:
        assert mine
        thread = threading.Thread(target=lambda: result.append(waiter.get(encoder, paths, watched, lambda p: None)))
        thread.start()
        while not bar.notes:
            time.sleep(0.01)
        finder = embeddings._Keys()
        holder._append([finder.of(path) or b"" for path in paths], expected(paths))
        thread.join(30)  # the lock is still held: the waiter needs none once everything is there
    assert not thread.is_alive()
    np.testing.assert_array_equal(result[0], expected(paths))
    assert not encoder.calls
    assert bar.notes == {embeddings.WAITING}
    assert bar.done == 5


def test_the_bar_counts_every_image_once(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", [*range(70), "broken"])
    bar, totals = Bar(), list[object]()

    @contextmanager
    def watched(title: str, total: int | None, unit: str = "") -> Iterator[Bar]:
        totals.append((total, unit))
        yield bar

    EmbeddingStore(tmp_path / "store").get(Numbers(), paths, watched, lambda problem: None)
    assert totals == [(71, "images")]
    assert bar.done == 71


# ------------------------------------------------------------------ faults


def test_a_full_disk_names_the_file_and_leaves_the_store_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(tmp_path / "images", range(100))
    store = EmbeddingStore(tmp_path / "store")
    real, room = os.write, [40 * 4 * DIM]

    def write(file: int, data: memoryview) -> int:
        part = data[: room[0]]
        room[0] -= len(part)
        if len(part) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, part)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left") as full:
        fetch(store, Numbers(), paths)
    assert full.value.filename in (str(store.vectors), str(store.index))
    assert full.value.errno == errno.ENOSPC
    monkeypatch.setattr(os, "write", real)
    for one in (store, EmbeddingStore(tmp_path / "store")):
        np.testing.assert_array_equal(fetch(one, Numbers(), paths)[0], expected(paths))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows[:-1], r"float32 \[2, 3\] instead of float32 \[3, 3\]"),
        (lambda rows: rows.astype(np.float64), "float64"),
        (lambda rows: rows / 0, "infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_faulty_encoder_stores_nothing(
    tmp_path: Path, spoil: Callable[[np.ndarray], np.ndarray], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(tmp_path / "images", range(1, 4))
    encoder = Numbers()
    right = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda images: spoil(right(images)))
    store = EmbeddingStore(tmp_path / "store")
    with pytest.raises(BenchError, match=said):
        fetch(store, encoder, paths)
    assert store.missing(paths) == paths


def test_an_emptied_folder_is_noticed(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", range(5))
    store = EmbeddingStore(tmp_path / "store")
    fetch(store, Numbers(), paths)
    store.index.unlink()
    store.vectors.unlink()
    np.testing.assert_array_equal(fetch(store, Numbers(), paths)[0], expected(paths))


def test_chunks_grow_while_they_are_short_and_shrink_when_long(tmp_path: Path) -> None:
    filling = embeddings._Filling(EmbeddingStore(tmp_path), Numbers(), {}, lambda problem: None)
    sizes = []
    for seconds in (0.1, 0.1, 5, 60, 60, 60, 60):
        filling._resize(filling.chunk, seconds)
        sizes.append(filling.chunk)
    assert sizes == [64, 128, 128, 64, 32, 16, 8]


def test_an_index_of_the_size_of_mimic_cxr(tmp_path: Path) -> None:
    (path,) = files(tmp_path / "images", [7])
    store = EmbeddingStore(tmp_path / "store")
    n = 243_334
    with store.index.open("wb") as index:
        index.writelines(b"%d 1 /data/files/p10/p1%07d/s5%07d/%040d.jpg\n" % (i, i, i, i) for i in range(n))
    os.truncate(store.vectors, 0) if store.vectors.exists() else store.vectors.touch()
    os.truncate(store.vectors, n * 4 * DIM)
    rows, _ = fetch(store, Numbers(), [path])
    assert rows[0, 0] == 7
    assert len(EmbeddingStore(tmp_path / "store").missing([path])) == 0
