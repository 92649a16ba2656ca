//! Changes of flows, groups and meters, given as words, in a file, or on standard input.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use openflow::Message;
use openflow::text::{Ports, SyntaxError};
use serde_json::json;

use super::Daemon;
use crate::arguments::openflow::Given;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Changes;

type ReadWord<'a> = dyn Fn(&str, &Ports) -> Result<Message, SyntaxError> + 'a;
type ReadLine<'a> = dyn Fn(&str, &Ports) -> Result<Option<Message>, SyntaxError> + 'a;

/// How to read one kind of change.
pub struct Syntax<'a> {
    /// What it is called: `flow`.
    pub noun: &'static str,
    /// Reads one given as a word.
    pub word: &'a ReadWord<'a>,
    /// Reads a line of a file; `None` if it is empty.
    pub line: &'a ReadLine<'a>,
    /// Nothing given means all there are.
    pub empty_is_all: bool,
}

/// Sends what is given and waits until it is in force.
pub fn run(
    daemon: &Daemon<'_>,
    given: &Given,
    syntax: &Syntax<'_>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let nothing = given.items.is_empty() && given.file.is_none();
    if nothing && !syntax.empty_is_all {
        let noun = syntax.noun;
        return Err(Failure::Usage(format!(
            "no {noun} given: say one in quotes, or -f FILE, or - to read standard input"
        )));
    }
    let mut session = daemon.session(&given.bridge)?;
    let ports = session.ports()?;
    let changes = Changes::new(&mut session);
    let sent = match (&given.file, given.items.as_slice()) {
        (Some(file), _) if file != Path::new("-") => {
            let opened = File::open(file)
                .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
            let name = file.display().to_string();
            send_lines(BufReader::new(opened), &name, syntax, &ports, changes)?
        }
        (Some(_), _) => send_lines(stdin().lock(), "standard input", syntax, &ports, changes)?,
        (None, [dash]) if dash == "-" => {
            send_lines(stdin().lock(), "standard input", syntax, &ports, changes)?
        }
        (None, words) => send_words(words, syntax, &ports, changes)?,
    };
    output.answer(&json!({ "bridge": given.bridge, "sent": sent }), |_| Ok(()))
}

fn send_words(
    words: &[String],
    syntax: &Syntax<'_>,
    ports: &Ports,
    mut changes: Changes<'_>,
) -> Result<usize, Failure> {
    let all = [String::new()];
    let words = if words.is_empty() { &all } else { words };
    // Either all of them make sense, or none is sent.
    let mut messages = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let name = match words.len() {
            1 => String::new(),
            _ => format!("{} {}: ", syntax.noun, at + 1),
        };
        match (syntax.word)(word, ports) {
            Ok(message) => messages.push((message, name)),
            Err(error) => return Err(Failure::Usage(format!("{name}{error}"))),
        }
    }
    for (message, name) in messages {
        changes.send(&message, name)?;
    }
    changes.finish()
}

fn send_lines(
    mut source: impl BufRead,
    name: &str,
    syntax: &Syntax<'_>,
    ports: &Ports,
    mut changes: Changes<'_>,
) -> Result<usize, Failure> {
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let read = (&mut source).take(LINE_BYTES_MAX).read_line(&mut line);
        let parsed = match read {
            Ok(0) => break,
            Ok(len) if len as u64 == LINE_BYTES_MAX && !line.ends_with('\n') => {
                Err(format!("longer than {LINE_BYTES_MAX} bytes"))
            }
            Ok(_) => (syntax.line)(&line, ports).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match parsed {
            Ok(Some(message)) => changes.send(&message, format!("{name}:{number}: "))?,
            Ok(None) => {}
            Err(error) => return stop(changes, syntax, &format!("{name}:{number}: {error}")),
        }
    }
    changes.finish()
}

/// Ends at a line that makes no sense, saying what became of those before it.
fn stop(changes: Changes<'_>, syntax: &Syntax<'_>, error: &str) -> Result<usize, Failure> {
    let noun = syntax.noun;
    match changes.finish() {
        Ok(0) => Err(Failure::Usage(error.into())),
        Ok(sent) => Err(Failure::Usage(format!(
            "{error}\nvsctl: {noun}s in force from the lines before it: {sent}"
        ))),
        Err(Failure::Refused(refused)) => Err(Failure::Usage(format!(
            "{error}\nvsctl: before it, {refused}"
        ))),
        Err(failure) => Err(failure),
    }
}

/// A flow of 64 KiB, the longest message, is shorter than this in text.
const LINE_BYTES_MAX: u64 = 1 << 20;
