//! Where a command's answer goes: text for people, or one JSON document.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Standard output and how to use it.
pub struct Output<'a> {
    /// Where to write.
    pub out: &'a mut dyn Write,
    /// JSON is wanted.
    pub json: bool,
    /// It is a terminal.
    pub terminal: bool,
}

impl Output<'_> {
    /// Prints `value` if JSON is wanted, otherwise what `text` prints.
    pub fn answer<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.json {
            return self.document(value);
        }
        Ok(text(self.out)?)
    }

    /// Prints a JSON document and a line's end.
    pub fn document<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut *self.out, value).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    /// Prints a JSON document on a line of its own.
    pub fn line<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut *self.out, value).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    /// Hands on what was printed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}
