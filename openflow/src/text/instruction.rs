//! What stands after `actions=` in a flow: instructions, and among them the actions that are
//! applied at once. The order is that in which they are carried out (OpenFlow 1.3.5 §5.9), and
//! it is enforced, lest someone expects another.

use std::fmt::Write;

use flowtable::{Field, Match};

use super::action::{self, Context};
use super::token::{Token, Tokens};
use super::value::{number, number_or_minus_one};
use super::{Ports, SyntaxError};
use crate::{Action, Instructions, MeterId, TableId};

/// Reads instructions.
pub(super) fn parse<'a>(
    tokens: impl Iterator<Item = Token<'a>>,
    matching: &Match,
    ports: &Ports,
) -> Result<Instructions, SyntaxError> {
    let mut reader = Reader {
        context: Context::of(&matching.key(), &matching.mask(), ports),
        instructions: Instructions::default(),
        apply: Vec::new(),
        last: None,
        dropped: false,
    };
    for token in tokens {
        reader.take(&token)?;
    }
    if !reader.apply.is_empty() {
        reader.instructions.apply = Some(reader.apply.into());
    }
    Ok(reader.instructions)
}

/// Appends instructions, separated by commas; `drop` if there are none.
pub(super) fn write(out: &mut String, instructions: &Instructions, ports: &Ports) {
    let start = out.len();
    // Writing to a String cannot fail, so its results are let go.
    if let Some(meter) = instructions.meter {
        let _ = write!(out, "meter:{meter},");
    }
    if let Some(apply) = instructions.apply.as_deref().filter(|a| !a.is_empty()) {
        action::write(out, apply, ports);
        out.push(',');
    }
    if instructions.clear {
        out.push_str("clear_actions,");
    }
    if let Some(list) = &instructions.write {
        out.push_str("write_actions(");
        action::write(out, list, ports);
        out.push_str("),");
    }
    if let Some((value, mask)) = instructions.metadata {
        let _ = match (value, mask) {
            (0, u64::MAX) => write!(out, "write_metadata:0,"),
            (_, u64::MAX) => write!(out, "write_metadata:{value:#x},"),
            (0, _) => write!(out, "write_metadata:0/{mask:#x},"),
            _ => write!(out, "write_metadata:{value:#x}/{mask:#x},"),
        };
    }
    if let Some(table) = instructions.goto {
        let _ = write!(out, "goto_table:{table},");
    }
    if out.len() == start {
        out.push_str("drop");
    } else {
        out.pop();
    }
}

struct Reader<'a> {
    context: Context<'a>,
    instructions: Instructions,
    apply: Vec<Action>,
    last: Option<Kind>,
    dropped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Kind {
    Meter,
    Apply,
    Clear,
    Write,
    Metadata,
    Goto,
}

impl Kind {
    fn of(key: &str) -> Kind {
        match key {
            "meter" => Kind::Meter,
            "clear_actions" => Kind::Clear,
            "write_actions" => Kind::Write,
            "write_metadata" => Kind::Metadata,
            "goto_table" => Kind::Goto,
            _ => Kind::Apply,
        }
    }
}

impl Reader<'_> {
    fn take(&mut self, token: &Token<'_>) -> Result<(), SyntaxError> {
        let drop = token.key == "drop";
        if self.dropped || drop && self.last.is_some() {
            let problem = "drop stands alone: a packet is dropped when nothing is done with it";
            return Err(SyntaxError::new(token.text, problem, ""));
        }
        if drop {
            self.dropped = true;
            return Ok(());
        }
        let kind = Kind::of(token.key);
        self.check_order(token, kind)?;
        self.last = Some(kind);
        self.read(token, kind).map_err(|e| match kind {
            Kind::Apply | Kind::Write => e,
            _ => e.within(token.text),
        })
    }

    fn check_order(&self, token: &Token<'_>, kind: Kind) -> Result<(), SyntaxError> {
        match self.last {
            Some(last) if last > kind => {
                let problem = "comes too late: instructions are carried out in a fixed order";
                Err(SyntaxError::new(token.text, problem, ORDER))
            }
            Some(last) if last == kind && kind != Kind::Apply => {
                Err(SyntaxError::new(token.text, "given twice", "once"))
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, token: &Token<'_>, kind: Kind) -> Result<(), SyntaxError> {
        let argument = token.argument();
        let into = &mut self.instructions;
        match kind {
            Kind::Meter => into.meter = Some(meter(argument)?),
            Kind::Apply => return action::parse(token, &mut self.context, &mut self.apply),
            Kind::Clear => into.clear = true,
            Kind::Write => {
                into.write = write_list(argument, &mut self.context)?.map(Into::into);
            }
            Kind::Metadata => into.metadata = Some(metadata(argument)?),
            Kind::Goto => {
                let table = number(argument, TableId::LAST.0.into())?;
                into.goto = Some(TableId(table as u8));
            }
        }
        Ok(())
    }
}

fn write_list(text: &str, context: &mut Context<'_>) -> Result<Option<Vec<Action>>, SyntaxError> {
    let mut list = Vec::new();
    for token in Tokens::new(text).filter(|token| token.key != "drop") {
        if Kind::of(token.key) != Kind::Apply {
            let problem = "an instruction, not an action";
            return Err(SyntaxError::new(token.text, problem, "actions"));
        }
        action::parse(&token, context, &mut list)?;
    }
    Ok((!list.is_empty()).then_some(list))
}

fn meter(text: &str) -> Result<MeterId, SyntaxError> {
    match number(text, MeterId::MAX.0.into())? {
        0 => Err(SyntaxError::new(text, "no such meter", "1 to 4294901760")),
        meter => Ok(MeterId(meter as u32)),
    }
}

fn metadata(text: &str) -> Result<(u64, u64), SyntaxError> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "-1"));
    let value = number(value, Field::Metadata.ones())?;
    Ok((value as u64, number_or_minus_one(mask)?))
}

const ORDER: &str = "meter, actions, clear_actions, write_actions, write_metadata, goto_table";
