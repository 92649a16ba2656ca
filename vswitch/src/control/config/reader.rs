//! Reads typed values out of a TOML table and remembers where they stood, so that every complaint
//! names the place, the key, the value and what is allowed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml_edit::{Document, Item, TableLike, TomlError, Value};

/// A configuration that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    line: Option<usize>,
    message: String,
}

impl ConfigError {
    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same about another value.
    pub(super) fn with_value(self, value: &str, other: &str) -> ConfigError {
        let message = self.message.replace(value, other);
        ConfigError { message, ..self }
    }

    /// An error about the file as a whole.
    pub(super) fn about_file(file: &Path, message: String) -> ConfigError {
        ConfigError {
            file: file.display().to_string(),
            line: None,
            message,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The text being read, for line numbers.
pub(super) struct Source<'a> {
    text: &'a str,
    file: &'a Path,
    places: RefCell<HashMap<(&'static str, String), Range<usize>>>,
}

impl<'a> Source<'a> {
    /// `file` is for errors only.
    pub(super) fn new(text: &'a str, file: &'a Path) -> Source<'a> {
        Source {
            text,
            file,
            places: RefCell::default(),
        }
    }

    /// The document, if it is TOML at all.
    pub(super) fn document(&self) -> Result<Document<&'a str>, ConfigError> {
        let shown = |error: TomlError| self.error(error.span(), error.to_string().trim().into());
        Document::parse(self.text).map_err(shown)
    }

    /// Where a number stands that is too large for any key.
    pub(super) fn overflow(&self) -> Option<Range<usize>> {
        let error = Document::parse(self.text).err()?;
        let place = error.span().filter(|place| !place.is_empty())?;
        let text = self.text.get(place.clone())?;
        let digits = text.trim_start_matches(['+', '-']).replace('_', "");
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        (whole && text.replace('_', "").parse::<i64>().is_err()).then_some(place)
    }

    /// An error at a place of the text.
    pub(super) fn error(&self, place: Option<Range<usize>>, message: String) -> ConfigError {
        let line = place.map(|span| {
            let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
            before.iter().filter(|&&byte| byte == b'\n').count() + 1
        });
        ConfigError {
            file: self.file.display().to_string(),
            line,
            message,
        }
    }

    /// An error about `key` of the section that is called `owner`.
    pub(super) fn error_at(&self, key: &'static str, owner: &str, message: String) -> ConfigError {
        let place = self.places.borrow().get(&(key, owner.to_owned())).cloned();
        self.error(place, message)
    }
}

/// One table, whose keys are asked for one by one; [`Section::finish`] refuses the others.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    table: &'a dyn TableLike,
    name: String,
    span: Option<Range<usize>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The table `table` called `name` in errors.
    pub(super) fn new(
        source: &'a Source<'a>,
        table: &'a dyn TableLike,
        name: &str,
        span: Option<Range<usize>>,
    ) -> Section<'a> {
        Section {
            source,
            table,
            name: name.to_owned(),
            span,
            asked: Vec::new(),
        }
    }

    /// Calls the section `name` in later errors.
    pub(super) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// A string, a number or a table under `key`.
    pub(super) fn item(&mut self, key: &'static str) -> Option<&'a Item> {
        self.asked.push(key);
        self.table.get(key).filter(|item| !item.is_none())
    }

    /// A sub-table, called `name` in errors.
    pub(super) fn section(
        &mut self,
        key: &'static str,
        name: &str,
    ) -> Result<Option<Section<'a>>, ConfigError> {
        let Some(item) = self.item(key) else {
            return Ok(None);
        };
        match item.as_table_like() {
            Some(table) => Ok(Some(Section::new(self.source, table, name, item.span()))),
            None => Err(self.refuse(key, item, "a table")),
        }
    }

    /// The tables of `[[key]]` or `key = [{…}]`.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        name: &str,
    ) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some(item) = self.item(key) else {
            return Ok(Vec::new());
        };
        if let Some(tables) = item.as_array_of_tables() {
            let section =
                |table: &'a toml_edit::Table| Section::new(self.source, table, name, table.span());
            return Ok(tables.iter().map(section).collect());
        }
        let array = item
            .as_array()
            .ok_or_else(|| self.refuse(key, item, &self.header(key)))?;
        let section = |value: &'a Value| match value.as_inline_table() {
            Some(table) => Ok(Section::new(self.source, table, name, value.span())),
            None => Err(self.refuse_value(key, value, "tables")),
        };
        array.iter().map(section).collect()
    }

    /// What is allowed where tables are.
    fn header(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => format!("tables, each under [[{key}]]"),
            "conntrack" => format!("tables, each under [[conntrack.{key}]]"),
            _ => format!("tables, each under [[bridge.{key}]]"),
        }
    }

    /// A string.
    pub(super) fn string(&mut self, key: &'static str) -> Result<Option<&'a str>, ConfigError> {
        let Some(item) = self.item(key) else {
            return Ok(None);
        };
        let text = item
            .as_str()
            .ok_or_else(|| self.refuse(key, item, "a string"))?;
        Ok(Some(text))
    }

    /// A string of at most `bytes_max` bytes without control characters.
    pub(super) fn short_string(
        &mut self,
        key: &'static str,
        bytes_max: usize,
    ) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.string(key)? else {
            return Ok(None);
        };
        if text.len() > bytes_max || text.chars().any(char::is_control) {
            let allowed = format!("a string of at most {bytes_max} bytes");
            return Err(self.error_at(key, &format!("\"{text}\""), &allowed));
        }
        Ok(Some(text.to_owned()))
    }

    /// A string that `parse` understands; its error says what is allowed.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.string(key)? else {
            return Ok(None);
        };
        let refuse = |error: E| self.wrong(key, &format!("\"{text}\""), &error.to_string());
        parse(text).map(Some).map_err(refuse)
    }

    /// A whole number in a range; `what` says of what.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: Range<i64>,
        what: &str,
    ) -> Result<Option<i64>, ConfigError> {
        let Some(item) = self.item(key) else {
            return Ok(None);
        };
        let allowed = format!("{what} from {} to {}", range.start, range.end - 1);
        let number = item.as_integer().filter(|number| range.contains(number));
        number
            .map(Some)
            .ok_or_else(|| self.refuse(key, item, &allowed))
    }

    /// True or false.
    pub(super) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(item) = self.item(key) else {
            return Ok(None);
        };
        item.as_bool()
            .map(Some)
            .ok_or_else(|| self.refuse(key, item, "true or false"))
    }

    /// The values of an array.
    pub(super) fn values(&mut self, key: &'static str) -> Result<Vec<&'a Value>, ConfigError> {
        let Some(item) = self.item(key) else {
            return Ok(Vec::new());
        };
        let array = item
            .as_array()
            .ok_or_else(|| self.refuse(key, item, "an array"))?;
        Ok(array.iter().collect())
    }

    /// Whole numbers in a range.
    pub(super) fn numbers(
        &mut self,
        key: &'static str,
        range: Range<i64>,
        what: &str,
    ) -> Result<Vec<i64>, ConfigError> {
        let allowed = format!(
            "an array of {what} from {} to {}",
            range.start,
            range.end - 1
        );
        let values = self.values(key)?;
        let number = |value: &&Value| {
            let number = value.as_integer().filter(|number| range.contains(number));
            number.ok_or_else(|| self.refuse_value(key, value, &allowed))
        };
        values.iter().map(number).collect()
    }

    /// Strings.
    pub(super) fn strings(&mut self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        let values = self.values(key)?;
        let string = |value: &&Value| match value.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.refuse_value(key, value, "an array of strings")),
        };
        values.iter().map(string).collect()
    }

    /// An error about a key with the value it has.
    pub(super) fn refuse(&self, key: &str, item: &Item, allowed: &str) -> ConfigError {
        match item.as_value() {
            Some(value) => self.refuse_value(key, value, allowed),
            None => self.error_at(key, &format!("a {}", item.type_name()), allowed),
        }
    }

    /// An error about one value under a key.
    pub(super) fn refuse_value(&self, key: &str, value: &Value, allowed: &str) -> ConfigError {
        let message = format!(
            "{} = {}: allowed is {allowed}",
            self.path(key),
            shown(value)
        );
        self.source.error(value.span(), message)
    }

    /// An error about a value, in words that say what is allowed.
    pub(super) fn wrong(&self, key: &str, value: &str, why: &str) -> ConfigError {
        let message = format!("{} = {value}: {why}", self.path(key));
        self.source.error(self.place(key), message)
    }

    /// As [`Section::wrong`], for one value of an array.
    pub(super) fn wrong_value(
        &self,
        key: &str,
        value: &Value,
        why: &dyn fmt::Display,
    ) -> ConfigError {
        let message = format!("{} = {}: {why}", self.path(key), shown(value));
        self.source.error(value.span(), message)
    }

    /// An error about one option of the table `options`.
    pub(super) fn wrong_option(&self, option: &str, value: &str, why: &str) -> ConfigError {
        let options = self.table.get("options").and_then(Item::as_table_like);
        let found = options.and_then(|options| options.get_key_value(option));
        let place = found.and_then(|(key, item)| key.span().or_else(|| item.span()));
        let place = place.or_else(|| self.place("options"));
        let message = format!("{}{value}: {why}", self.path(&format!("options.{option}")));
        let place = place.or_else(|| self.span.clone());
        self.source.error(place, message)
    }

    /// The text that the section is of.
    pub(super) fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// An error about a key that has to be there.
    pub(super) fn missing(&self, key: &str, allowed: &str) -> ConfigError {
        let message = format!("{} is missing: give {allowed}", self.path(key));
        self.source.error(self.span.clone(), message)
    }

    /// Remembers where its keys stood, for [`Source::error_at`] with this owner, and refuses
    /// every key that was not asked for.
    pub(super) fn finish(self, owner: &str) -> Result<(), ConfigError> {
        let mut places = self.source.places.borrow_mut();
        for key in &self.asked {
            if let Some(place) = self.place(key) {
                places.insert((key, owner.to_owned()), place);
            }
        }
        let unknown = self.table.iter().map(|(key, _)| key);
        let unknown = unknown.into_iter().find(|key| !self.asked.contains(key));
        let Some(key) = unknown else { return Ok(()) };
        let allowed = self.asked.join(", ");
        let message = format!("{}: unknown key; allowed are {allowed}", self.path(key));
        Err(self.source.error(self.place(key), message))
    }

    fn error_at(&self, key: &str, value: &str, allowed: &str) -> ConfigError {
        self.wrong(key, value, &format!("allowed is {allowed}"))
    }

    /// A key as errors name it.
    pub(super) fn path(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => key.to_owned(),
            name if name.ends_with('"') => format!("{name}: {key}"),
            name => format!("{name}.{key}"),
        }
    }

    fn place(&self, key: &str) -> Option<Range<usize>> {
        let (key, item) = self.table.get_key_value(key)?;
        key.span()
            .or_else(|| item.span())
            .or_else(|| self.span.clone())
    }
}

/// A value as the file wrote it, without its surroundings, cut to a readable length.
fn shown(value: &Value) -> String {
    let mut text = value.clone().decorated("", "").to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Longest value repeated in an error: enough to recognize it.
const SHOWN_CHARS_MAX: usize = 60;
