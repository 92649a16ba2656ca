//! Bytes as they come, cut into messages by the length in their headers.

use crate::wire::{HEADER_LEN, Header};

/// Bytes that came and were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// First byte that was not taken.
    start: usize,
    /// Where the first header begins whose length was not checked.
    unchecked: usize,
}

impl Frames {
    /// Adds bytes. The error is the length in a header that is shorter than a header is.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), u16> {
        self.bytes.drain(..self.start);
        self.unchecked -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
        while let Some(header) = self.header_at(self.unchecked) {
            if usize::from(header.len) < HEADER_LEN {
                return Err(header.len);
            }
            self.unchecked += usize::from(header.len);
        }
        Ok(())
    }

    /// Takes the next message if all of it is there.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let len = usize::from(self.header_at(self.start)?.len);
        let frame = self.bytes[self.start..].get(..len)?;
        self.start += len;
        Some(frame)
    }

    fn header_at(&self, position: usize) -> Option<Header> {
        Header::decode(self.bytes.get(position..)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARRIER: [u8; 8] = [4, 20, 0, 8, 0, 0, 0, 1];
    const ECHO: [u8; 10] = [4, 2, 0, 10, 0, 0, 0, 2, 7, 7];

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let stream = [&BARRIER[..], &ECHO, &BARRIER].concat();
        for cut in 1..stream.len() {
            let mut frames = Frames::default();
            let mut taken = Vec::new();
            for part in stream.chunks(cut) {
                frames.push(part).expect("good lengths");
                while let Some(frame) = frames.next() {
                    taken.push(frame.to_vec());
                }
            }
            assert_eq!(taken, [&BARRIER[..], &ECHO, &BARRIER], "{cut}");
        }
    }

    #[test]
    fn a_length_below_the_header_is_found_at_once() {
        let mut frames = Frames::default();
        assert_eq!(frames.push(&ECHO), Ok(()));
        assert_eq!(frames.push(&[4, 2, 0, 7, 0, 0, 0]), Ok(()));
        assert_eq!(frames.push(&[0]), Err(7));
        assert_eq!(frames.next(), Some(&ECHO[..]));
    }
}
