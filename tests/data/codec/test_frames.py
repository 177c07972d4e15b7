"""The codec of Atari frames: what was put in comes out, from anywhere, and no lie leaves the frame."""

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from data.codec.buffers import BufferPool
from data.codec.chunk import CorruptChunk, Span
from data.codec.frame_kernels import SEGMENT
from data.codec.frames import FRAMES
from data.common.cli import UserError
from data.spec import AtariSteps, Batch
from tests.data.codec.records import columns_of, packed

LIMITS = np.iinfo(np.int32)


def random_steps(seed: int, count: int, changes: int = 20) -> AtariSteps:
    """Steps of which most bring one new frame, some none, two, three or four."""
    random = np.random.default_rng(seed)
    frames = np.zeros((4 * count + 4, 84 * 84), np.uint8)
    frames[0] = random.integers(0, 256, 84 * 84)
    for number in range(1, len(frames)):
        frames[number] = frames[number - 1]
        frames[number, random.integers(0, 84 * 84, changes)] = random.integers(0, 256, changes)
    last = 3 + np.cumsum(random.choice(5, count, p=[0.05, 0.85, 0.04, 0.03, 0.03]))
    stacks = frames.reshape(-1, 84, 84)[last[:, None] - np.arange(3, -1, -1)]
    return AtariSteps(
        np.moveaxis(stacks, 1, -1),
        random.integers(0, 18, count).astype(np.uint8),
        random.integers(LIMITS.min, LIMITS.max, count, endpoint=True).astype(np.int32),
    )


def assert_same(left: AtariSteps, right: AtariSteps) -> None:
    for name, a, b in zip(AtariSteps._fields, left, right, strict=True):
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 100), st.integers(0, 300))
def test_what_was_encoded_is_decoded(seed: int, count: int, changes: int) -> None:
    steps = random_steps(seed, count, changes)
    assert_same(FRAMES.decode(FRAMES.encode(steps)), steps)


def test_stacks_that_share_nothing_are_kept_too() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 84, 84, 4), dtype=np.uint8)
    steps = AtariSteps(noise, np.zeros(40, np.uint8), np.zeros(40, np.int32))
    assert_same(FRAMES.decode(FRAMES.encode(steps)), steps)


@pytest.fixture(scope="module")
def played() -> AtariSteps:
    """Random play of Breakout, across the end of a game."""
    env = AtariVectorEnv("breakout", num_envs=1, repeat_action_probability=0.25)
    random = np.random.default_rng(0)
    seen, _ = env.reset(seed=0)
    stacks, actions = [], []
    for _ in range(600):
        stacks.append(np.moveaxis(seen[0], 0, -1))
        actions.append(random.integers(4))
        seen, *_ = env.step(np.array(actions[-1:]))
    env.close()
    return AtariSteps(np.stack(stacks), np.array(actions, np.uint8), np.zeros(600, np.int32))


def test_real_frames_are_stored_once_and_small(played: AtariSteps) -> None:
    record = FRAMES.encode(played)
    assert_same(FRAMES.decode(record), played)
    frames = FRAMES._open(record).sizes[0]
    # Three frames more at every segment's start, and four where another game begins.
    assert frames <= 600 + 3 * -(-600 // SEGMENT) + 4 * 6
    assert len(record) < 40 * 600


@given(st.data())
def test_any_steps_of_a_chunk_are_decoded_anywhere(data: st.DataObject) -> None:
    steps = random_steps(5, 90)
    chunk = FRAMES.unpack(FRAMES.encode(steps))
    rows = FRAMES.empty_rows(40)
    rows.observation["frames"][:] = 9
    start = data.draw(st.integers(0, 90))
    stop = data.draw(st.integers(start, min(90, start + 40)))
    row = data.draw(st.integers(0, 40 - (stop - start)))
    FRAMES.decode_into([chunk], np.array([Span(start, stop, row, 7)]), rows)
    there, here = slice(row, row + stop - start), slice(start, stop)
    np.testing.assert_array_equal(rows.observation["frames"][there], steps.frames_Sx84x84x4[here])
    np.testing.assert_array_equal(rows.action_N[there], steps.action_S[here])
    assert (rows.episode_N[there] == 7).all()
    assert (np.delete(rows.observation["frames"], there, axis=0) == 9).all()


def moving(seed: int, count: int, black: bool) -> AtariSteps:
    """Steps that each bring a frame, some as before; the first stack has three black frames, or one four times."""
    random = np.random.default_rng(seed)
    still = random.random(count) < 0.3
    frames = np.zeros((count, 84, 84), np.uint8)
    for number in range(count):
        frames[number] = frames[max(number - 1, 0)]
        if not still[number]:
            frames[number, random.integers(84), random.integers(84)] = random.integers(256)
    older = np.zeros((3, 84, 84), np.uint8) if black else np.repeat(frames[:1], 3, axis=0)
    stacks = np.lib.stride_tricks.sliding_window_view(np.concatenate([older, frames]), 4, axis=0)
    return AtariSteps(stacks, random.integers(0, 4, count).astype(np.uint8), np.zeros(count, np.int32))


def empty_batch(lanes: int, window: int, pieces: int) -> Batch:
    """A batch to fill, whose frames hold what was there before."""
    shape = lanes, window
    observation = FRAMES.empty_observation(*shape, pieces, BufferPool())
    observation["frames"][:] = 9
    action, episode = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
    return Batch(observation, action, np.zeros(shape, bool), np.zeros(shape, bool), episode)


def batched(games: list[AtariSteps], spans: list[Span], size: int, lanes: int, window: int, pieces: int) -> Batch:
    """Steps of games, cut into chunks of `size`, as a batch; the episode of a span is its game."""
    batch = empty_batch(lanes, window, pieces)
    chunks, parts = [], []
    for start, stop, row, game in spans:
        while start < stop:
            first = start // size * size
            end = min(stop, first + size)
            chunk = AtariSteps(*(column[first : first + size] for column in games[game]))
            chunks.append(FRAMES.unpack(FRAMES.encode(chunk)))
            parts.append(Span(start - first, end - first, row, game))
            start, row = end, row + end - start
    FRAMES.decode_batch(chunks, np.array(parts, np.int64).reshape(-1, 4), batch)
    return batch


@settings(max_examples=40)
@given(st.data())
def test_a_batch_holds_each_frame_once(data: st.DataObject) -> None:
    """Lanes of pieces of games, wherever they begin, whatever chunks they are cut into."""
    games = [moving(seed, 70, seed % 2 == 0) for seed in range(4)]
    size = data.draw(st.sampled_from([7, 16, 33, 70]))
    spans = []
    for lane in range(3):
        row = 20 * lane
        for _ in range(data.draw(st.integers(0, 3))):
            start = data.draw(st.integers(0, 69))
            stop = data.draw(st.integers(start + 1, 70))
            stop = min(stop, start + 20 * (lane + 1) - row)
            if stop > start:
                spans.append(Span(start, stop, row, (spans[-1].episode + 1) % 4 if spans else 0))
                row += stop - start
    batch = batched(games, spans, size, 3, 20, 3)
    frames, oldest = batch.observation["frames"], batch.observation["oldest"]
    for start, stop, row, game in spans:
        for step in range(start, stop):
            lane, t = divmod(row + step - start, 20)
            assert batch.mask[lane, t]
            assert (batch.episode[lane, t], batch.action[lane, t]) == (game, games[game].action_S[step])
            stack = np.moveaxis(frames[lane, oldest[lane, t] :][:4], 0, -1)
            np.testing.assert_array_equal(stack, games[game].frames_Sx84x84x4[step])
    assert batch.mask.sum() == sum(span.stop - span.start for span in spans)
    for lane in range(3):
        steps = int(batch.mask[lane].sum())
        pieces = sum(span.row // 20 == lane for span in spans)
        assert not frames[lane, steps + 3 * pieces :].any()


@pytest.mark.parametrize("wrong", [5, 16, 31])
@pytest.mark.parametrize("what", ["skips", "stands"])
def test_stacks_that_jump_cannot_be_batched(wrong: int, what: str) -> None:
    """Two frames at a step, or none though the frames differ, within a segment, at its start and at a chunk's."""
    distinct = np.arange(63, dtype=np.uint8)[:, None, None] * np.ones((84, 84), np.uint8)
    place = np.arange(40) + (np.arange(40) >= wrong) * (1 if what == "skips" else -1)
    stacks = np.moveaxis(distinct[place[:, None] + np.arange(4) + 1], 1, -1)
    steps = AtariSteps(stacks, np.zeros(40, np.uint8), np.zeros(40, np.int32))
    for size in (16, 31, 40):
        with pytest.raises(UserError, match="episode 0 of the store: its stacks do not advance by one frame"):
            batched([steps], [Span(0, 40, 0, 0)], size, 1, 40, 1)
        batched([steps], [Span(wrong, 40, 0, 0)], size, 1, 40, 1)


def test_a_stack_that_stands_though_its_frames_differ_cannot_be_batched() -> None:
    """A A A A, A A A B, A A B B, A B B B, and again A B B B: to step on would make B B B B of it."""
    frame = np.arange(8, dtype=np.uint8)[:, None, None] * np.ones((84, 84), np.uint8)
    shown = ["0000", "0000", "0001", "0011", "0111", "0111", "0111", "1111"]
    stacks = np.stack([np.moveaxis(frame[[int(number) for number in stack]], 0, -1) for stack in shown])
    with pytest.raises(UserError, match="do not advance"):
        batched([AtariSteps(stacks, np.zeros(8, np.uint8), np.zeros(8, np.int32))], [Span(0, 8, 0, 0)], 8, 1, 8, 1)


def test_frames_that_would_leave_the_batch_are_refused() -> None:
    games = [moving(seed, 70, True) for seed in range(2)]
    with pytest.raises(IndexError, match="frames in a lane of 9"):
        batched(games, [Span(0, 3, 0, 0), Span(0, 3, 3, 1)], 70, 1, 6, 1)
    with pytest.raises(IndexError, match="a part without steps"):
        FRAMES.decode_batch(
            [FRAMES.unpack(FRAMES.encode(games[0]))], np.array([Span(7, 7, 0, 0)]), empty_batch(1, 6, 1)
        )


@given(st.data())
def test_any_damage_is_detected(data: st.DataObject) -> None:
    record = FRAMES.encode(random_steps(1, 8))
    place = data.draw(st.integers(0, len(record) - 1))
    damaged = bytearray(record)
    damaged[place] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(damaged), record[:place], record + record[: place + 1]):
        with pytest.raises(CorruptChunk):
            FRAMES.decode(bad)


def test_a_thousand_sealed_lies_are_refused_or_stay_in_the_frame() -> None:
    """With a right checksum, columns may claim anything: no lie writes beside a frame or ends the process."""
    record = FRAMES.encode(random_steps(3, 60))
    honest = FRAMES.decode(record)
    columns = columns_of(FRAMES, record)
    assert_same(FRAMES.decode(packed(FRAMES, columns)), honest)
    random, refused, altered = np.random.default_rng(0), 0, 0
    for _ in range(1000):
        lies = [bytearray(column) for column in columns]
        lie = lies[random.integers(len(lies))]
        place = int(random.integers(len(lie)))
        how = random.integers(4)
        if how == 0:
            lie[place] = random.integers(256)
        elif how == 1:
            del lie[place : place + int(random.integers(1, 9))]
        elif how == 2:
            lie[place:place] = random.bytes(int(random.integers(1, 9)))
        else:
            lie[place : place + 4] = b"\xff\xff\xff\xff"
        try:
            steps = FRAMES.decode(packed(FRAMES, [bytes(column) for column in lies]))
        except CorruptChunk:
            refused += 1
            continue
        altered += 1
        assert len(steps.action_S) == len(lies[-2])
    assert refused > 200
    assert altered > 100
