//! Numbers for what flows do: flows with equal instructions share them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::quality::RandomState;
use openflow::{Instructions, OfPort};

use super::super::instruction_list::InstructionList;
use super::footprint;
use super::rows::{FlowRows, NONE};

/// The writer's side of [`super::super::Bridge::instructions`].
///
/// A number is free as soon as its last flow goes: whoever still sees that flow has the list of
/// that time. What it stood for is dropped with it. Rows of flows that went may be in the list of
/// its flows for a while, also when it stands for something else already.
#[derive(Debug, Default)]
pub struct Interner {
    /// What a free number stands for.
    nothing: Arc<Instructions>,
    numbers: HashMap<Arc<Instructions>, u32, RandomState>,
    /// Flows by number.
    users: Vec<u32>,
    /// By number, whether its flows leave a trace ([`footprint::is_plain`]).
    plain: Vec<bool>,
    /// By number, the first of the list of its flows.
    newest: Vec<u32>,
    /// Ports with the numbers of what sends to them.
    outputs: BTreeSet<(OfPort, u32)>,
    free: Vec<u32>,
}

impl Interner {
    /// The number of these instructions, with one more flow.
    pub fn take(&mut self, instructions: &Instructions, list: &mut InstructionList) -> u32 {
        if let Some(number) = self.numbers.get(instructions) {
            self.users[*number as usize] += 1;
            return *number;
        }
        let instructions = Arc::new(instructions.clone());
        let is_plain = footprint::is_plain(&instructions);
        let number = self.free.pop().unwrap_or_else(|| {
            self.users.push(0);
            self.plain.push(false);
            self.newest.push(NONE);
            self.users.len() as u32 - 1
        });
        list.set(number, Arc::clone(&instructions));
        self.users[number as usize] = 1;
        self.plain[number as usize] = is_plain;
        let outputs = instructions.outputs().map(|port| (port, number));
        self.outputs.extend(outputs);
        self.numbers.insert(instructions, number);
        number
    }

    /// A flow is one of those with these instructions; it was counted when the number was taken.
    pub fn join(&mut self, number: u32, row: u32, rows: &FlowRows) {
        if let Some(newest) = self.newest.get_mut(number as usize) {
            rows.join_alike(row, *newest);
            *newest = row;
        }
    }

    /// A flow is none of those any more.
    pub fn leave(&mut self, number: u32, row: u32, rows: &FlowRows) {
        if let Some(newest) = self.newest.get_mut(number as usize) {
            *newest = rows.leave_alike(row, *newest);
        }
    }

    /// Numbers of instructions that send to a port.
    pub fn sending_to(&self, port: OfPort) -> impl Iterator<Item = u32> {
        let numbers = self.outputs.range((port, 0)..=(port, u32::MAX));
        numbers.map(|(_, number)| *number)
    }

    /// Flows with these instructions, by their rows, among rows of flows that went.
    pub fn flows<'a>(
        &self,
        number: u32,
        rows: &'a FlowRows,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let newest = self.newest.get(number as usize).copied();
        rows.alike(newest.unwrap_or(NONE))
    }

    /// Whether flows with these leave a trace.
    pub fn is_plain(&self, number: u32) -> bool {
        self.plain.get(number as usize).is_some_and(|plain| *plain)
    }

    /// Flows with these.
    pub fn users(&self, number: u32) -> u32 {
        self.users.get(number as usize).copied().unwrap_or(0)
    }

    /// One flow less with these.
    pub fn release(&mut self, number: u32, list: &mut InstructionList) {
        let Some(users) = self.users.get_mut(number as usize) else {
            return;
        };
        *users -= 1;
        if *users == 0
            && let Some(instructions) = list.get(number)
        {
            self.numbers.remove(instructions);
            for port in instructions.outputs() {
                self.outputs.remove(&(port, number));
            }
            list.set(number, Arc::clone(&self.nothing));
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use openflow::{MeterId, TableId};

    use super::*;

    #[test]
    fn equal_instructions_share_a_number_until_their_last_flow_goes() {
        let (mut interner, mut list) = (Interner::default(), InstructionList::default());
        let goto = Instructions {
            goto: Some(TableId(1)),
            ..Instructions::default()
        };
        let meter = Instructions {
            meter: Some(MeterId(1)),
            ..Instructions::default()
        };
        let first = interner.take(&goto, &mut list);
        assert_eq!(interner.take(&goto, &mut list), first);
        interner.release(first, &mut list);
        assert_ne!(interner.take(&meter, &mut list), first);
        interner.release(first, &mut list);
        assert_eq!(
            **list.get(first).expect("a number"),
            Instructions::default()
        );
        assert_eq!(interner.take(&Instructions::default(), &mut list), first);
        assert_eq!(
            **list.get(first).expect("a number"),
            Instructions::default()
        );
        assert!(list.get(1).is_some());
    }
}
