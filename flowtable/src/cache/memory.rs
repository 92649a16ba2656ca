//! Large blocks of memory, prepared before they are written first.

/// Told where a block of memory starts and how many bytes it has, before anything is written there.
pub type Prepare = fn(*const u8, usize);

/// So many copies of a value in a block of their own.
pub(super) fn filled<T: Clone>(count: usize, value: T, prepare: Prepare) -> Box<[T]> {
    let mut block = Vec::<T>::with_capacity(count);
    prepare(block.as_ptr().cast(), count * size_of::<T>());
    block.resize(count, value);
    block.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static PREPARED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    #[test]
    fn a_block_is_prepared_as_a_whole() {
        let block = filled(100, 7_u64, |start, bytes| {
            PREPARED.set((start.addr(), bytes))
        });
        assert_eq!(*block, [7; 100]);
        assert_eq!(PREPARED.get(), (block.as_ptr().addr(), 800));
    }
}
