//! Bytes on their way out.

/// Bytes that wait for the socket.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them the socket has taken.
    sent: usize,
}

impl Outgoing {
    /// Where to append.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Forgets the first `len` pending bytes. They are moved out of the way only when they are as
    /// many as those that stay, so that each byte is moved once on average.
    pub(super) fn sent(&mut self, len: usize) {
        self.sent = self.bytes.len().min(self.sent + len);
        if self.sent * 2 >= self.bytes.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
            if self.bytes.is_empty() {
                self.bytes.shrink_to(IDLE_CAPACITY);
            }
        }
    }
}

/// Bytes of memory that an idle connection keeps: a burst does not hold its memory for ever.
const IDLE_CAPACITY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_out_once_and_in_order() {
        let mut outgoing = Outgoing::default();
        let mut written = Vec::new();
        for round in 0..50u8 {
            outgoing.bytes().extend_from_slice(&[round; 7]);
            let len = outgoing.pending().len().min(5);
            written.extend_from_slice(&outgoing.pending()[..len]);
            outgoing.sent(len);
        }
        written.extend_from_slice(outgoing.pending());
        let wanted: Vec<u8> = (0..50).flat_map(|round| [round; 7]).collect();
        assert_eq!(written, wanted);
        outgoing.sent(usize::from(u16::MAX));
        assert!(outgoing.pending().is_empty());
    }
}
