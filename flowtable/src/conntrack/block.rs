//! The large blocks of a table's memory: zeroed, on huge pages where the caller has these, since
//! packets of many connections find theirs all over them. Called as a table is made.

use zerocopy::FromZeros;

use crate::Prepare;

/// So many zeroed values in a block of their own, which is prepared before it is written. Nothing
/// if there is no memory for it.
pub fn zeroed<T: FromZeros>(count: usize, prepare: Prepare) -> Option<Box<[T]>> {
    let mut block = Vec::<T>::new();
    block.try_reserve_exact(count).ok()?;
    prepare(block.as_ptr().cast(), count * size_of::<T>());
    block.resize_with(count, T::new_zeroed);
    Some(block.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static PREPARED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    #[test]
    fn a_block_is_prepared_as_a_whole_and_is_zero() {
        let block = zeroed::<[u64; 3]>(100, |start, bytes| PREPARED.set((start.addr(), bytes)));
        let block = block.expect("memory");
        assert_eq!(*block, [[0; 3]; 100]);
        assert_eq!(PREPARED.get(), (block.as_ptr().addr(), 2400));
    }

    #[test]
    fn without_memory_there_is_none() {
        assert!(zeroed::<[u64; 64]>(usize::MAX / 1024, |_, _| ()).is_none());
    }
}
