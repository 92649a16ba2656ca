//! Splits a description into `key`, `key=value`, `key:value` and `key(value)`, which commas and
//! white space separate. Called by every reader in this module.

/// One piece of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// What comes before the delimiter.
    pub key: &'a str,
    /// What comes after it, without enclosing parentheses; `None` if there is no delimiter.
    pub value: Option<&'a str>,
    /// The whole piece as it was written.
    pub text: &'a str,
}

impl<'a> Token<'a> {
    /// The value, empty if there is none.
    pub fn argument(&self) -> &'a str {
        self.value.unwrap_or_default()
    }
}

/// The pieces of a description, in order.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// The pieces of `text`.
    pub fn new(text: &'a str) -> Tokens<'a> {
        Tokens { rest: text }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let start = self.rest.trim_start_matches(is_separator);
        if start.is_empty() {
            return None;
        }
        let key_end = start
            .find(|c| is_separator(c) || matches!(c, ':' | '=' | '('))
            .unwrap_or(start.len());
        let end = match start[key_end..].chars().next() {
            Some(':' | '=' | '(') => key_end + value_end(&start[key_end..]),
            _ => key_end,
        };
        let text = &start[..end];
        self.rest = &start[end..];
        Some(Token {
            key: &text[..key_end],
            value: value(&text[key_end..]),
            text,
        })
    }
}

/// Length of the delimiter and value at the start of `text`: up to the next separator outside
/// parentheses. Parentheses that are never closed take the rest.
fn value_end(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 && is_separator(c) => return at,
            _ => {}
        }
    }
    text.len()
}

fn value(delimited: &str) -> Option<&str> {
    match delimited.strip_prefix('(') {
        Some(inside) => Some(inside.strip_suffix(')').unwrap_or(inside)),
        None => delimited.strip_prefix([':', '=']),
    }
}

/// A line of a file of flows, groups or meters.
pub(super) struct Line<'a> {
    /// Its first word: it may be a command.
    pub word: &'a str,
    /// What comes after that word.
    pub rest: &'a str,
    /// All of it.
    pub whole: &'a str,
}

/// Takes a line apart; `None` if there is nothing in it, comments not counted.
pub(super) fn split_line(line: &str) -> Option<Line<'_>> {
    let whole = line.split('#').next().unwrap_or_default().trim();
    let (word, rest) = whole.split_once(is_separator).unwrap_or((whole, ""));
    (!whole.is_empty()).then_some(Line { word, rest, whole })
}

/// Whether a character ends a piece.
fn is_separator(c: char) -> bool {
    matches!(c, ',' | ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(&str, Option<&str>)> {
        Tokens::new(text).map(|t| (t.key, t.value)).collect()
    }

    #[test]
    fn splits_at_commas_and_white_space() {
        assert_eq!(
            split(" tcp,, in_port=1\tactions:output(2)\n"),
            [
                ("tcp", None),
                ("in_port", Some("1")),
                ("actions", Some("output(2)"))
            ]
        );
    }

    #[test]
    fn parentheses_hold_together() {
        assert_eq!(
            split("write_actions(output:1,group(2)),drop"),
            [("write_actions", Some("output:1,group(2)")), ("drop", None)]
        );
    }

    #[test]
    fn values_keep_colons_and_arrows() {
        assert_eq!(
            split("set_field:fe80::1->ipv6_src,x="),
            [("set_field", Some("fe80::1->ipv6_src")), ("x", Some(""))]
        );
    }

    #[test]
    fn unbalanced_parentheses_take_the_rest() {
        assert_eq!(split("a(b,c"), [("a", Some("b,c"))]);
        assert_eq!(split("a)b"), [("a)b", None)]);
        assert_eq!(split("(x)"), [("", Some("x"))]);
    }
}
