//! Entries of one kind as the daemon's multipart replies bring them, shown as lines or as one
//! document: what `vsctl group dump` and `vsctl meter dump` have in common.

use openflow::{MultipartReply, MultipartRequest};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// How entries are asked for and shown.
pub struct Listing<'a, T> {
    pub bridge: &'a str,
    /// What the document calls them.
    pub noun: &'static str,
    pub request: MultipartRequest,
    /// The entries of a reply to the request.
    pub entries: fn(MultipartReply) -> Option<Vec<T>>,
    pub document: &'a dyn Fn(&T) -> Value,
    /// Appends the entry's line.
    pub line: &'a dyn Fn(&mut String, &T),
}

pub fn show<T>(
    mut session: Session,
    listing: Listing<'_, T>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut entries = Vec::new();
    session.query(listing.request, |reply| {
        entries.extend((listing.entries)(reply).unwrap_or_default());
        Ok(())
    })?;
    if output.json {
        let mut document = Map::new();
        document.insert("bridge".into(), json!(listing.bridge));
        let entries: Vec<Value> = entries.iter().map(listing.document).collect();
        document.insert(listing.noun.into(), json!(entries));
        return output.document(&Value::Object(document));
    }
    for entry in &entries {
        let mut line = String::new();
        (listing.line)(&mut line, entry);
        writeln!(output.out, "{line}")?;
    }
    Ok(())
}
