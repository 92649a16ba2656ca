//! The large blocks of a table's memory: zeroed, on huge pages where the caller has these, since
//! packets of many connections find theirs all over them. Called as a table is made. What was never
//! written takes no memory: it comes zeroed from the kernel, page by page.

use zerocopy::FromZeros;

use crate::Prepare;

/// So many zeroed values in a block of their own, which is prepared before it is written. Nothing
/// if there is no room for it.
pub fn zeroed<T: FromZeros>(count: usize, prepare: Prepare) -> Option<Box<[T]>> {
    let block = <[T]>::new_box_zeroed_with_elems(count).ok()?;
    prepare(block.as_ptr().cast(), size_of_val(&*block));
    Some(block)
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

    /// The kernel's word: how much of a gigabyte is there, in kB.
    #[test]
    fn what_was_never_written_takes_no_memory() {
        let block = zeroed::<[u64; 16]>(8 << 20, |_, _| ()).expect("room");
        let inside = block.as_ptr().addr() + (512 << 20);
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("a map");
        let holds = |line: &str| {
            let (start, rest) = line.split_once('-')?;
            let (end, _) = rest.split_once(' ')?;
            let address = |text| usize::from_str_radix(text, 16).ok();
            Some((address(start)?..address(end)?).contains(&inside))
        };
        let mut lines = maps.lines().skip_while(|line| holds(line) != Some(true));
        let resident = lines
            .find_map(|line| line.strip_prefix("Rss:"))
            .expect("a size");
        let resident = resident.trim().strip_suffix(" kB").expect("a unit");
        // Other tests' blocks may lie in the same mapping.
        assert!(
            resident.parse::<u64>().expect("a number") < 256 << 10,
            "{resident}"
        );
        assert_eq!(block[8 << 19], [0; 16]);
    }

    #[test]
    fn without_memory_there_is_none() {
        assert!(zeroed::<[u64; 64]>(usize::MAX / 1024, |_, _| ()).is_none());
    }
}
