//! `vsctl log`.

use serde_json::{Value, json};

use super::Daemon;
use crate::arguments::LogCommand;
use crate::failure::Failure;
use crate::management::reply::LogFilter;
use crate::output::Output;

pub fn run(
    daemon: &Daemon<'_>,
    command: &LogCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let LogCommand::Set { filter } = command;
    let params = match filter {
        Some(filter) => json!({ "filter": filter }),
        None => Value::Null,
    };
    let (value, reply) = daemon.management()?.query::<LogFilter>("log/set", params)?;
    output.answer(&value, |out| match filter {
        Some(_) => Ok(()),
        None => writeln!(out, "{}", reply.filter),
    })
}
