//! What the flows of a bridge do, by number: a list that packets of new flows look into once for
//! each table, and that a publication shares.
//!
//! It is a list of chunks, so that a number is two loads away. A change copies one chunk and the
//! list of chunks if a state has them: a thousand pointers where a hundred thousand flows each do
//! something else.

use std::sync::Arc;

use openflow::Instructions;

/// Instructions by number; none at all by those that stand for nothing.
#[derive(Clone, Debug, Default)]
pub struct InstructionList(Arc<[Chunk]>);

type Chunk = Arc<[Arc<Instructions>; CHUNK]>;

impl InstructionList {
    /// What a number stands for.
    #[inline(always)]
    pub fn get(&self, number: u32) -> Option<&Arc<Instructions>> {
        let number = number as usize;
        Some(&self.0.get(number / CHUNK)?[number % CHUNK])
    }

    /// Lets a number stand for something, or for something else.
    pub fn set(&mut self, number: u32, instructions: Arc<Instructions>) {
        let (chunk, place) = (number as usize / CHUNK, number as usize % CHUNK);
        if chunk >= self.0.len() {
            let nothing = Arc::new(std::array::from_fn(|_| Arc::default()));
            let more = std::iter::repeat_n(nothing, chunk + 1 - self.0.len());
            self.0 = self.0.iter().cloned().chain(more).collect();
        }
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[chunk])[place] = instructions;
    }
}

/// Numbers in a chunk, all of which a change copies once for each state.
const CHUNK: usize = 128;

#[cfg(test)]
mod tests {
    use openflow::TableId;

    use super::*;

    fn to(table: u8) -> Arc<Instructions> {
        Arc::new(Instructions {
            goto: Some(TableId(table)),
            ..Instructions::default()
        })
    }

    #[test]
    fn who_shares_the_list_does_not_see_what_changes() {
        let mut list = InstructionList::default();
        assert!(list.get(0).is_none());
        for number in 0..300_u32 {
            list.set(number, to(number as u8));
        }
        let shared = list.clone();
        list.set(7, to(100));
        list.set(299, to(101));
        list.set(300, to(102));
        let goto =
            |list: &InstructionList, number| list.get(number).and_then(|it| it.goto).map(|it| it.0);
        assert_eq!(
            [7, 299, 300].map(|it| goto(&list, it)),
            [100, 101, 102].map(Some)
        );
        let before = [7, 299].map(|it| goto(&shared, it));
        assert_eq!(before, [7, 299 % 256].map(|it| Some(it as u8)));
        assert!(
            (0..299)
                .filter(|it| *it != 7)
                .all(|it| goto(&list, it) == Some(it as u8))
        );
        assert!(list.get(384).is_none());
    }
}
