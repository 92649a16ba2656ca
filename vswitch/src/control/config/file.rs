//! The configuration file as text that can be edited: every edit is a new text, read again from
//! the start, so that what `vsctl` writes is checked by the same rules as what people write.
//! Comments and order stay.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{Config, ConfigError, Controller, PortKind};

/// Keys to set, or with `None` to remove.
pub type Keys = Vec<(&'static str, Option<Value>)>;

/// A configuration with the text it was read from. An edit makes a new one.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    text: String,
    config: Config,
}

impl ConfigFile {
    /// Reads a file; `run_dir` overrules what it says.
    pub fn open(path: &Path, run_dir: Option<&Path>) -> Result<ConfigFile, ConfigError> {
        let about = |error: io::Error| ConfigError::about_file(path, error.to_string());
        let path = fs::canonicalize(path).map_err(about)?;
        let length = fs::metadata(&path).map_err(about)?.len();
        if length > FILE_BYTES_MAX {
            let message = format!("{length} bytes are too many: allowed are {FILE_BYTES_MAX}");
            return Err(ConfigError::about_file(&path, message));
        }
        let text = fs::read_to_string(&path).map_err(about)?;
        ConfigFile::read(Some(path), run_dir.map(Path::to_owned), text)
    }

    /// The built-in configuration, which has no file: its edits are gone when the daemon ends.
    pub fn built_in(run_dir: Option<&Path>) -> Result<ConfigFile, ConfigError> {
        let at = run_dir.unwrap_or(Path::new(super::DEFAULT_RUN_DIR));
        ConfigFile::without_file(Config::built_in(at))
    }

    /// A configuration that is nowhere but here.
    pub fn without_file(text: String) -> Result<ConfigFile, ConfigError> {
        ConfigFile::read(None, None, text)
    }

    fn read(
        path: Option<PathBuf>,
        run_dir: Option<PathBuf>,
        text: String,
    ) -> Result<ConfigFile, ConfigError> {
        let file = path
            .as_deref()
            .unwrap_or(Path::new("built-in configuration"));
        let config = Config::parse(&text, file, run_dir.as_deref())?;
        Ok(ConfigFile {
            path,
            run_dir,
            text,
            config,
        })
    }

    /// As it is on the disk now, if somebody else wrote something that means the same; an error
    /// if it means anything else, which the next edit would overwrite. Blocks on the disk.
    pub fn reread(&self) -> Result<Option<ConfigFile>, ConfigError> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        let refuse = |what: String| {
            let advice = "nothing was changed. Undo that edit, or restart vswitchd to take it over";
            ConfigError::about_file(path, format!("{what}: {advice}"))
        };
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| refuse(format!("cannot be read any more ({error})")))?;
        if text == self.text {
            return Ok(None);
        }
        match ConfigFile::read(Some(path.clone()), self.run_dir.clone(), text) {
            Ok(fresh) if fresh.config == self.config => Ok(Some(fresh)),
            Ok(_) => Err(refuse("was edited while the switch runs".to_owned())),
            Err(error) => Err(refuse(format!(
                "was edited while the switch runs, and is wrong ({error})"
            ))),
        }
    }

    /// An error about `key` of the section that is called `owner`.
    pub fn error_at(&self, key: &'static str, owner: &str, message: String) -> ConfigError {
        let file = self.path.as_deref();
        let file = file.unwrap_or(Path::new("built-in configuration"));
        Config::error_at(
            &self.text,
            file,
            self.run_dir.as_deref(),
            key,
            owner,
            message,
        )
    }

    /// What the text means.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it was read from; `None` for the built-in one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// With another bridge.
    pub fn add_bridge(&self, keys: Keys) -> Result<ConfigFile, ConfigError> {
        self.edit_bridges(|mut bridges| bridges.push(keys))
    }

    /// Without a bridge.
    pub fn remove_bridge(&self, bridge: &str) -> Result<ConfigFile, ConfigError> {
        self.edit_bridges(|mut bridges| bridges.remove(bridge))
    }

    /// With other keys of a bridge.
    pub fn set_bridge(&self, bridge: &str, keys: Keys) -> Result<ConfigFile, ConfigError> {
        self.edit_bridges(|mut bridges| bridges.set(bridge, keys))
    }

    /// With these controllers of a bridge, and no others. One that stays keeps its other keys.
    pub fn set_controllers(
        &self,
        bridge: &str,
        targets: Option<Vec<String>>,
    ) -> Result<ConfigFile, ConfigError> {
        let targets = targets.map(|targets| {
            let known = self.config.bridges.iter().find(|it| it.name == bridge);
            let known = known
                .map(|bridge| bridge.controllers.as_slice())
                .unwrap_or_default();
            targets
                .iter()
                .map(|target| controller_value(known, target))
                .collect::<Array>()
        });
        self.set_bridge(bridge, vec![("controllers", targets.map(Value::from))])
    }

    /// With another port.
    pub fn add_port(&self, bridge: &str, keys: Keys) -> Result<ConfigFile, ConfigError> {
        self.edit_ports(bridge, |mut ports| ports.push(keys))
    }

    /// Without a port.
    pub fn remove_port(&self, bridge: &str, port: &str) -> Result<ConfigFile, ConfigError> {
        self.edit_ports(bridge, |mut ports| ports.remove(port))
    }

    /// With other keys of a port.
    pub fn set_port(
        &self,
        bridge: &str,
        port: &str,
        keys: Keys,
    ) -> Result<ConfigFile, ConfigError> {
        self.edit_ports(bridge, |mut ports| {
            if port == bridge && ports.find(port).is_none() {
                // The bridge's own port, of which nothing was said so far.
                ports.push(vec![
                    ("name", Some(port.into())),
                    ("type", Some(PortKind::Internal.label().into())),
                ]);
            }
            ports.set(port, keys);
        })
    }

    /// With other keys of connection tracking, and other timeouts of a policy, which is added if
    /// it is not there, or of zones without one.
    pub fn set_conntrack(
        &self,
        keys: Keys,
        policy: Option<&str>,
        timeouts: Keys,
    ) -> Result<ConfigFile, ConfigError> {
        self.edit_conntrack(|conntrack| {
            set_keys(conntrack, keys);
            if timeouts.is_empty() && policy.is_none() {
                return;
            }
            let owner = match policy {
                None => Some(conntrack),
                Some(name) => entry_of(conntrack, "policy", "name", name.into()),
            };
            if let Some(table) = owner.and_then(|owner| sub_table(owner, "timeouts_s")) {
                set_keys(table, timeouts);
            }
        })
    }

    /// With other keys of a zone.
    pub fn set_zone(&self, zone: u16, keys: Keys) -> Result<ConfigFile, ConfigError> {
        self.edit_conntrack(|conntrack| {
            let number = i64::from(zone).into();
            if let Some(table) = entry_of(conntrack, "zone", "zone", number) {
                set_keys(table, keys);
            }
        })
    }

    fn edit_conntrack(
        &self,
        edit: impl FnOnce(&mut dyn TableLike),
    ) -> Result<ConfigFile, ConfigError> {
        self.edit(|root| {
            let section = root.entry("conntrack").or_insert(Item::Table(Table::new()));
            if let Some(section) = section.as_table_like_mut() {
                edit(section);
            }
        })
    }

    fn edit_ports(
        &self,
        bridge: &str,
        edit: impl FnOnce(Tables<'_>),
    ) -> Result<ConfigFile, ConfigError> {
        self.edit_bridges(|mut bridges| {
            let bridge = bridges.find(bridge).and_then(|index| bridges.table(index));
            if let Some(ports) = bridge.and_then(|bridge| Tables::of(bridge, "port")) {
                edit(ports);
            }
        })
    }

    fn edit_bridges(&self, edit: impl FnOnce(Tables<'_>)) -> Result<ConfigFile, ConfigError> {
        self.edit(|root| {
            if let Some(bridges) = Tables::of(root, "bridge") {
                edit(bridges);
            }
        })
    }

    fn edit(&self, edit: impl FnOnce(&mut dyn TableLike)) -> Result<ConfigFile, ConfigError> {
        let file = self.path.as_deref().unwrap_or(Path::new("configuration"));
        let mut document: DocumentMut =
            self.text.parse().map_err(|error: toml_edit::TomlError| {
                ConfigError::about_file(file, error.message().to_owned())
            })?;
        edit(document.as_table_mut());
        let mut text = document.to_string();
        if self.text.contains("\r\n") {
            // The editor of TOML ends lines its own way.
            text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        }
        ConfigFile::read(self.path.clone(), self.run_dir.clone(), text)
    }

    /// Replaces the file, whole or not at all. Blocks on the disk.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = folder.join(format!(".{name}.{}", std::process::id()));
        let written = self.write_draft(&draft, path);
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written?;
        File::open(folder)?.sync_all()
    }

    fn write_draft(&self, draft: &Path, path: &Path) -> io::Result<()> {
        let mut file = File::create(draft)?;
        if let Ok(metadata) = fs::metadata(path) {
            // Only root may give files away; who is not keeps its own.
            let _ = std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid()));
            file.set_permissions(metadata.permissions())?;
        }
        file.write_all(self.text.as_bytes())?;
        file.sync_all()?;
        fs::rename(draft, path)
    }
}

/// A controller as the file says it: its target alone where its timers are the usual ones.
fn controller_value(known: &[Controller], target: &str) -> Value {
    let parsed = target.parse().ok();
    let known = known
        .iter()
        .find(|known| Some(&known.target) == parsed.as_ref());
    let Some(known) = known.filter(|known| **known != Controller::new(known.target.clone())) else {
        return target.into();
    };
    let mut table = InlineTable::new();
    table.insert("target", target.into());
    table.insert(
        "inactivity_probe_s",
        i64::from(known.inactivity_probe_s).into(),
    );
    table.insert("max_backoff_s", i64::from(known.max_backoff_s).into());
    if let Some(limit) = known.packet_ins {
        table.insert("controller_rate_limit", i64::from(limit.rate).into());
        table.insert("controller_burst_limit", i64::from(limit.burst).into());
    }
    if known.auxiliary_connections > 0 {
        let more = i64::from(known.auxiliary_connections);
        table.insert("auxiliary_connections", more.into());
    }
    table.into()
}

/// `[[key]]` blocks or `key = [{…}]`, whichever the file uses.
enum Tables<'a> {
    Blocks(&'a mut ArrayOfTables),
    Inline(&'a mut Array),
}

impl<'a> Tables<'a> {
    /// Those under `key`, made if there are none; `None` if something else is there.
    fn of(parent: &'a mut dyn TableLike, key: &str) -> Option<Tables<'a>> {
        let item = parent
            .entry(key)
            .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        match item {
            Item::ArrayOfTables(tables) => Some(Tables::Blocks(tables)),
            Item::Value(Value::Array(array)) => Some(Tables::Inline(array)),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Tables::Blocks(tables) => tables.len(),
            Tables::Inline(array) => array.len(),
        }
    }

    fn table(&mut self, index: usize) -> Option<&mut dyn TableLike> {
        match self {
            Tables::Blocks(tables) => tables
                .get_mut(index)
                .map(|table| table as &mut dyn TableLike),
            Tables::Inline(array) => {
                let table = array.get_mut(index)?.as_inline_table_mut()?;
                Some(table as &mut dyn TableLike)
            }
        }
    }

    fn into_table(self, index: usize) -> Option<&'a mut dyn TableLike> {
        match self {
            Tables::Blocks(tables) => {
                let table = tables.get_mut(index);
                table.map(|table| table as &mut dyn TableLike)
            }
            Tables::Inline(array) => {
                let table = array.get_mut(index)?.as_inline_table_mut()?;
                Some(table as &mut dyn TableLike)
            }
        }
    }

    fn find(&mut self, name: &str) -> Option<usize> {
        (0..self.len()).find(|&index| {
            let table = self.table(index);
            table.and_then(|table| table.get("name")?.as_str().map(|it| it == name)) == Some(true)
        })
    }

    fn push(&mut self, keys: Keys) {
        match self {
            Tables::Blocks(tables) => {
                let mut table = Table::new();
                set_keys(&mut table, keys);
                tables.push(table);
            }
            Tables::Inline(array) => {
                let mut table = InlineTable::new();
                set_keys(&mut table, keys);
                array.push(table);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        let Some(index) = self.find(name) else { return };
        match self {
            Tables::Blocks(tables) => drop(tables.remove(index)),
            Tables::Inline(array) => drop(array.remove(index)),
        }
    }

    fn set(&mut self, name: &str, keys: Keys) {
        let index = self.find(name);
        if let Some(table) = index.and_then(|index| self.table(index)) {
            set_keys(table, keys);
        }
    }
}

/// The table of `[[key]]` whose `name` has this value, made if it is not there.
fn entry_of<'a>(
    parent: &'a mut dyn TableLike,
    key: &str,
    name: &'static str,
    value: Value,
) -> Option<&'a mut dyn TableLike> {
    let mut tables = Tables::of(parent, key)?;
    let is_it = |table: &mut dyn TableLike| {
        let found = table.get(name).and_then(Item::as_value);
        found.is_some_and(|found| same_value(found, &value))
    };
    let place = (0..tables.len()).find(|at| tables.table(*at).is_some_and(is_it));
    let place = place.unwrap_or_else(|| {
        tables.push(vec![(name, Some(value.clone()))]);
        tables.len() - 1
    });
    tables.into_table(place)
}

/// Whether two values are the same number or string.
fn same_value(a: &Value, b: &Value) -> bool {
    (a.as_integer(), a.as_str()) == (b.as_integer(), b.as_str())
}

/// The table under a key, made if it is not there.
fn sub_table<'a>(parent: &'a mut dyn TableLike, key: &str) -> Option<&'a mut dyn TableLike> {
    let empty = Item::Value(InlineTable::new().into());
    parent.entry(key).or_insert(empty).as_table_like_mut()
}

/// A value that was there keeps the comment behind it.
fn set_keys(table: &mut dyn TableLike, keys: Keys) {
    for (key, value) in keys {
        match (value, table.get_mut(key).and_then(Item::as_value_mut)) {
            (Some(value), Some(old)) => {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            (Some(value), None) => {
                table.insert(key, Item::Value(value));
            }
            (None, _) => {
                table.remove(key);
            }
        }
    }
}

/// Room for the largest number of ports with all their options.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::super::Vlan;
    use super::*;

    const TEXT: &str = "\
# The node's switch.
[[bridge]] # first
name = \"br0\" # its name
fail_mode = \"secure\" # on purpose

# The uplink.
[[bridge.port]]
name = \"up\"
type = \"null\"

[[bridge]]
name = \"br1\"
port = [{ name = \"in\", type = \"null\" }] # short
";

    fn file() -> (tempfile::TempDir, PathBuf, ConfigFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("switch.toml");
        fs::write(&path, TEXT).unwrap();
        let file = ConfigFile::open(&path, None).unwrap();
        (folder, path, file)
    }

    #[test]
    fn what_is_said_of_connections_is_edited_one_by_one() {
        let (_folder, _, file) = file();
        let edited = file
            .set_conntrack(vec![("zone_limit", Some(9.into()))], None, Keys::new())
            .unwrap();
        assert_eq!(edited.config().conntrack.zone_limit, Some(9));
        let timeouts = |seconds: Option<i64>| vec![("udp_single", seconds.map(Value::from))];
        let edited = edited
            .set_conntrack(Keys::new(), Some("short"), timeouts(Some(5)))
            .unwrap();
        let edited = edited
            .set_conntrack(Keys::new(), None, timeouts(Some(6)))
            .unwrap();
        let keys = vec![("limit", Some(3.into())), ("policy", Some("short".into()))];
        let edited = edited.set_zone(7, keys).unwrap();
        let edited = edited.set_zone(8, vec![("limit", Some(0.into()))]).unwrap();
        let conntrack = &edited.config().conntrack;
        assert_eq!(conntrack.timeouts["udp_single"], 6);
        assert_eq!(conntrack.policies[0].timeouts["udp_single"], 5);
        assert_eq!(conntrack.zones[&7].limit, Some(Some(3)));
        assert_eq!(conntrack.zones[&8].limit, Some(None));
        let edited = edited
            .set_conntrack(Keys::new(), Some("short"), timeouts(None))
            .unwrap();
        let edited = edited.set_zone(7, vec![("limit", None)]).unwrap();
        let conntrack = &edited.config().conntrack;
        assert_eq!(conntrack.policies.len(), 1);
        assert!(conntrack.policies[0].timeouts.is_empty());
        assert_eq!(conntrack.zones[&7].limit, None);
        assert!(edited.text().starts_with(TEXT), "{}", edited.text());
        let wrong = edited.set_zone(9, vec![("policy", Some("none".into()))]);
        assert!(wrong.is_err());
    }

    #[test]
    fn edits_keep_comments_and_place() {
        let (_folder, _, file) = file();
        let keys = || vec![("name", Some("vm".into())), ("type", Some("null".into()))];
        let edited = file.add_port("br0", keys()).unwrap();
        let block = "type = \"null\"\n\n[[bridge.port]]\nname = \"vm\"\ntype = \"null\"\n";
        let expected = TEXT.replacen("type = \"null\"\n", block, 1);
        assert_eq!(edited.text(), expected);
        assert_eq!(edited.remove_port("br0", "vm").unwrap().text(), TEXT);

        let edited = file.set_bridge("br0", vec![("fail_mode", Some("standalone".into()))]);
        let expected = TEXT.replace("\"secure\"", "\"standalone\"");
        assert_eq!(edited.unwrap().text(), expected);

        let edited = file
            .set_port("br0", "up", vec![("tag", Some(7.into()))])
            .unwrap();
        assert!(
            edited.text().contains("type = \"null\"\ntag = 7\n"),
            "{}",
            edited.text()
        );
        let edited = edited.set_port("br0", "up", vec![("tag", None)]).unwrap();
        assert_eq!(edited.text(), TEXT);

        let edited = file.remove_port("br0", "up").unwrap();
        assert!(edited.config().bridges[0].ports.is_empty());
        assert!(edited.text().contains("# on purpose"));
    }

    #[test]
    fn a_bridges_own_port_comes_to_be_when_it_is_set() {
        let (_folder, _, file) = file();
        let set = |file: &ConfigFile, tag: i64| {
            let keys = vec![("tag", Some(tag.into()))];
            file.set_port("br0", "br0", keys).unwrap()
        };
        let edited = set(&set(&file, 7), 8);
        let block = "[[bridge.port]]\nname = \"br0\"\ntype = \"internal\"\ntag = 8\n";
        assert_eq!(edited.text().matches("tag = ").count(), 1);
        assert!(edited.text().contains(block), "{}", edited.text());
        let bridge = &edited.config().bridges[0];
        assert_eq!(bridge.local.vlan, Vlan::Access(8));
        assert_eq!(bridge.ports.len(), 1);
    }

    #[test]
    fn inline_tables_are_edited_too() {
        let (_folder, _, file) = file();
        let keys = vec![("name", Some("vm".into())), ("type", Some("null".into()))];
        let edited = file.add_port("br1", keys).unwrap();
        assert_eq!(edited.config().bridges[1].ports.len(), 2);
        assert!(edited.text().contains("# short"), "{}", edited.text());
        let edited = edited.remove_port("br1", "in").unwrap();
        assert_eq!(edited.config().bridges[1].ports[0].name, "vm");
    }

    #[test]
    fn controllers_keep_their_timers() {
        let (_folder, _, file) = file();
        let set = |file: &ConfigFile, targets: &[&str]| {
            let targets = targets.iter().map(|target| (*target).to_owned()).collect();
            file.set_controllers("br1", Some(targets)).unwrap()
        };
        let edited = set(&file, &["tcp:a", "tcp:b:1"]);
        let line = "controllers = [\"tcp:a\", \"tcp:b:1\"]";
        assert!(edited.text().contains(line), "{}", edited.text());
        let slow = "controllers = [{ target = \"tcp:a\", max_backoff_s = 60 }, \"tcp:b:1\"]";
        let text = edited.text().replace(line, slow);
        let edited = ConfigFile::read(None, None, text).unwrap();
        let edited = set(&edited, &["tcp:c", "tcp:a:6653"]);
        let controllers = &edited.config().bridges[1].controllers;
        let backoff: Vec<_> = controllers.iter().map(|it| it.max_backoff_s).collect();
        assert_eq!(backoff, [8, 60]);
        assert_eq!(edited.set_controllers("br1", None).unwrap().text(), TEXT);
    }

    #[test]
    fn bridges_come_and_go() {
        let (_folder, _, file) = file();
        let edited = file.add_bridge(vec![("name", Some("br2".into()))]).unwrap();
        assert_eq!(
            edited.text(),
            format!("{TEXT}\n[[bridge]]\nname = \"br2\"\n")
        );
        let edited = edited.remove_bridge("br0").unwrap();
        let names: Vec<_> = edited
            .config()
            .bridges
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        assert_eq!(names, ["br1", "br2"]);
    }

    #[test]
    fn what_is_wrong_is_refused_and_changes_nothing() {
        let (_folder, path, file) = file();
        let error = file
            .set_port("br0", "up", vec![("tag", Some(5000.into()))])
            .unwrap_err();
        assert!(error.message().contains("tag = 5000"), "{error}");
        let error = file
            .add_bridge(vec![("name", Some("up".into()))])
            .unwrap_err();
        assert!(error.message().contains("there twice"), "{error}");
        assert_eq!(fs::read_to_string(path).unwrap(), TEXT);
    }

    #[test]
    fn a_saved_file_is_read_again_the_same() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, path, file) = file();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let edited = file
            .set_port("br0", "up", vec![("tag", Some(7.into()))])
            .unwrap();
        edited.save().unwrap();
        let again = ConfigFile::open(&path, None).unwrap();
        assert_eq!(again.config(), edited.config());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn edits_of_others_are_not_overwritten() {
        let (_folder, path, file) = file();
        assert!(file.reread().unwrap().is_none());
        fs::write(&path, format!("{TEXT}# a note\n")).unwrap();
        let fresh = file.reread().unwrap().unwrap();
        assert!(fresh.text().ends_with("# a note\n"));
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            file.reread().unwrap_err().to_string()
        };
        let other = error(&TEXT.replace("\"br0\"", "\"br7\""));
        assert!(other.contains("was edited while"), "{other}");
        assert!(other.contains("restart vswitchd"), "{other}");
        let wrong = error("[[bridge");
        assert!(
            wrong.contains("is wrong (") && wrong.contains("toml:1:"),
            "{wrong}"
        );
        fs::remove_file(&path).unwrap();
        let gone = file.reread().unwrap_err().to_string();
        assert!(gone.contains("cannot be read any more"), "{gone}");
    }

    #[test]
    fn lines_end_as_they_did_and_the_owner_stays() {
        let (_folder, path, _) = file();
        fs::write(&path, TEXT.replace('\n', "\r\n")).unwrap();
        let is_root = rustix::process::getuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
        }
        let file = ConfigFile::open(&path, None).unwrap();
        let edited = file.set_port("br0", "up", vec![("tag", Some(7.into()))]);
        edited.unwrap().save().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("tag = 7\r\n"), "{text:?}");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
        let metadata = fs::metadata(&path).unwrap();
        let owner = (metadata.uid(), metadata.gid());
        assert!(!is_root || owner == (12, 34), "{owner:?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = ConfigFile::open(Path::new("/nowhere/f.toml"), None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/f.toml: No such file"),
            "{error}"
        );
    }
}
