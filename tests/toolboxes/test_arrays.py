import threading

import numpy as np
import pytest

from gadgetron.toolboxes.arrays import MAX_SHARED_BYTES, ArrayPool, empty_aligned, owned


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 7, 4)])
def test_aligned_arrays_begin_at_64_bytes(shape):
    array = empty_aligned(shape, np.complex64)
    assert array.shape == shape
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous


def test_an_array_that_is_referred_to_is_never_handed_out():
    pool = ArrayPool(max_bytes=1 << 20)
    taken = [pool.take((16, 8), np.complex64) for _ in range(5)]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(taken) for b in taken[:i])


def test_a_view_keeps_its_array_from_being_reused():
    pool = ArrayPool(max_bytes=1 << 20)
    view = pool.take((16, 8), np.complex64)[3:5]
    assert not np.shares_memory(view, pool.take((16, 8), np.complex64))


def test_an_array_is_reused_when_nobody_refers_to_it():
    pool = ArrayPool(max_bytes=1 << 20)
    address = pool.take((16, 8), np.complex64).ctypes.data
    assert pool.take((16, 8), np.complex64).ctypes.data == address


def test_the_pool_keeps_no_more_than_its_limit():
    pool = ArrayPool(max_bytes=3000)
    addresses = {array.ctypes.data for array in [pool.take((16, 8), np.complex64) for _ in range(4)]}
    again = [pool.take((16, 8), np.complex64) for _ in range(4)]
    assert len(addresses) == 4
    assert len(again) == 4
    assert sum(kept.nbytes for kept in pool._raw) <= 3000


def test_another_size_replaces_what_was_kept_when_there_is_no_room_for_both():
    pool = ArrayPool(max_bytes=2000)
    pool.take((16, 8), np.complex64)
    lent = pool.take((8, 8), np.complex64)
    pool.take((16, 10), np.complex64)
    assert sorted(kept.nbytes - 64 for kept in pool._raw) == [lent.nbytes, 16 * 10 * 8]
    assert pool.nbytes == sum(kept.nbytes for kept in pool._raw)


def test_threads_that_share_a_pool_never_get_the_same_array():
    pool = ArrayPool(max_bytes=1 << 20)
    clashes = []

    def work(number):
        for _ in range(300):
            array = pool.take((16, 8), np.float32)
            array[...] = number
            if not (array == number).all():
                clashes.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []


def test_views_of_large_blocks_are_copied_and_others_are_not():
    block = np.zeros(2 * MAX_SHARED_BYTES, np.uint8)
    view = block[:1024].view(np.complex64)
    assert owned(view).base is None
    assert not np.shares_memory(owned(view), block)
    memory = np.frombuffer(bytearray(2 * MAX_SHARED_BYTES), np.complex64, 16)
    assert not np.shares_memory(owned(memory), memory)
    own = np.zeros(4, np.complex64)
    assert owned(own) is own
    batch = np.zeros((16, 64), np.complex64)
    assert owned(batch[3]).base is batch
    most = block[: 2 * MAX_SHARED_BYTES - 8]
    assert owned(most) is most
