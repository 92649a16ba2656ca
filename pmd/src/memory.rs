//! Memory that the kernel provides, other than packet pools.

/// Asks the kernel to back this block of memory with huge pages as far as it has some
/// (`MADV_HUGEPAGE`, madvise(2)), to be called before it is written first. Where the kernel
/// does not know or allow it, pages are of the usual size.
pub fn prefer_huge_pages(start: *const u8, bytes: usize) {
    let first = start.addr().next_multiple_of(PAGE_BYTES);
    let end = (start.addr() + bytes) / PAGE_BYTES * PAGE_BYTES;
    if first >= end {
        return;
    }
    // SAFETY: the advice changes the size of pages and nothing that is in them.
    unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
}

/// Makes a block of the heap's zero by giving its pages back to the kernel, which zeroes each when
/// it is next written: until then it takes no memory.
pub fn vacate(block: &mut [u8]) {
    let start = block.as_ptr().addr();
    let first = start.next_multiple_of(PAGE_BYTES).min(start + block.len());
    let end = ((start + block.len()) / PAGE_BYTES * PAGE_BYTES).max(first);
    let (head, rest) = block.split_at_mut(first - start);
    let (pages, tail) = rest.split_at_mut(end - first);
    head.fill(0);
    tail.fill(0);
    // SAFETY: nobody else refers to these pages while they are borrowed to be written, and whatever
    // is in them afterwards are bytes.
    let outcome =
        unsafe { libc::madvise(pages.as_mut_ptr().cast(), pages.len(), libc::MADV_DONTNEED) };
    if outcome != 0 {
        pages.fill(0);
    }
}

/// Asks the CPU to fetch the lines of memory at these places, and does not wait for them.
pub fn prefetch(places: &[*const u8]) {
    for place in places {
        // SAFETY: a prefetch reads nothing, whatever the address.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(place.cast());
        }
    }
}

/// As every kernel on x86-64 has them; larger ones are multiples.
const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_notes_the_advice() {
        let block = Vec::<u8>::with_capacity(64 << 20);
        prefer_huge_pages(block.as_ptr(), block.capacity());
        let inside = block.as_ptr().addr() + (32 << 20);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let holds = |line: &str| {
            let (start, rest) = line.split_once('-')?;
            let (end, _) = rest.split_once(' ')?;
            let address = |text| usize::from_str_radix(text, 16).ok();
            Some((address(start)?..address(end)?).contains(&inside))
        };
        let mut lines = maps.lines().skip_while(|line| holds(line) != Some(true));
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split_whitespace().any(|flag| flag == "hg"), "{flags}");
    }

    #[test]
    fn small_blocks_are_left_alone() {
        prefer_huge_pages(std::ptr::null(), 0);
        prefer_huge_pages([0_u8; 64].as_ptr(), 64);
    }

    #[test]
    fn what_is_vacated_is_zero_and_takes_no_memory() {
        let mut block = vec![7_u8; (64 << 20) + 100];
        let status = || std::fs::read_to_string("/proc/self/status").unwrap();
        let resident_kib = |status: &str| -> i64 {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("RssAnon:"));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
            number.unwrap().parse().unwrap()
        };
        let before = resident_kib(&status());
        vacate(&mut block[1..]);
        let gone = before - resident_kib(&status());
        // Other tests may take some meanwhile.
        assert!(gone > 32 << 10, "{gone} KiB");
        assert_eq!(block[0], 7);
        assert!(block[1..].iter().all(|byte| *byte == 0));
        vacate(&mut block[3..9]);
        vacate(&mut []);
    }
}
