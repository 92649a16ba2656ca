//! FTP's commands and replies that announce a data connection: PORT and the reply 227 (RFC 959
//! §4.1.2, §4.2), EPRT and the reply 229 (RFC 2428).

use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::{Address, Announcement};
use crate::conntrack::record::Direction;
use crate::conntrack::tuple::mapped;

/// What a packet announces: a client's command or a server's reply, at the start of the payload and
/// with the end of its line.
pub(super) fn read(payload: &[u8], direction: Direction, version: u8) -> Option<Announcement> {
    let line = &payload[..payload.len().min(LINE_LEN_MAX)];
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let line = core::str::from_utf8(&line[..end]).ok()?;
    let (word, start) = (line.get(..4)?, 4);
    let is_command = |command: &str| word.eq_ignore_ascii_case(command);
    match direction {
        Direction::Original if is_command("PORT") && line[4..].starts_with(' ') => {
            numbers(line, start + 1)
        }
        Direction::Original if is_command("EPRT") && line[4..].starts_with(' ') => {
            extended(line, start + 1, version)
        }
        Direction::Reply if word == "227 " => {
            let digit = line[4..].find(|letter: char| letter.is_ascii_digit())?;
            numbers(line, start + digit)
        }
        Direction::Reply if word == "229 " => port_alone(line),
        _ => None,
    }
    .filter(|announcement| announcement.port != 0)
}

/// `h1,h2,h3,h4,p1,p2`, with anything behind it.
fn numbers(line: &str, at: usize) -> Option<Announcement> {
    let text = line.get(at..)?;
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != ',');
    let text = &text[..end.unwrap_or(text.len())];
    let mut values = [0; 6];
    let mut parts = text.split(',');
    for value in &mut values {
        *value = u8::from_str(parts.next()?).ok()?;
    }
    if parts.next().is_some() {
        return None;
    }
    let [a, b, c, d, high, low] = values;
    let port_len = text.rsplitn(3, ',').take(2).map(|part| part.len() + 1);
    let address = Address {
        value: mapped(Ipv4Addr::new(a, b, c, d).to_bits()),
        at,
        len: text.len() - port_len.sum::<usize>(),
        separator: ',',
    };
    Some(Announcement {
        port: u16::from_be_bytes([high, low]),
        is_own_port: false,
        address: Some(address),
    })
}

/// `|1|a.b.c.d|port|` or `|2|a::d|port|`, with any delimiter.
fn extended(line: &str, at: usize, version: u8) -> Option<Announcement> {
    let text = line.get(at..)?;
    let delimiter = text.chars().next().filter(char::is_ascii_graphic)?;
    let mut parts = text[1..].split(delimiter);
    let family = parts.next()?;
    let (address, port) = (parts.next()?, parts.next()?);
    // The delimiter behind the port has to be there: what follows the port is then all of it.
    parts.next()?;
    let value = match (family, version) {
        ("1", 4) => mapped(Ipv4Addr::from_str(address).ok()?.to_bits()),
        ("2", 6) => {
            let words = Ipv6Addr::from_str(address).ok()?.to_bits();
            [(words >> 64) as u64, words as u64]
        }
        _ => return None,
    };
    let address = Address {
        value,
        at: at + family.len() + 2,
        len: address.len(),
        separator: '.',
    };
    Some(Announcement {
        port: u16::from_str(port).ok()?,
        is_own_port: false,
        address: Some(address),
    })
}

/// `text (|||port|)`, with any delimiter.
fn port_alone(line: &str) -> Option<Announcement> {
    let (_, text) = line.split_once('(')?;
    let delimiter = text.chars().next().filter(char::is_ascii_graphic)?;
    let mut parts = text[1..].split(delimiter);
    if parts.next() != Some("") || parts.next() != Some("") {
        return None;
    }
    let port = u16::from_str(parts.next()?).ok()?;
    parts.next()?.starts_with(')').then_some(Announcement {
        port,
        is_own_port: false,
        address: None,
    })
}

/// Bytes of a line that are looked at: a reply may have a sentence before what it announces.
const LINE_LEN_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(line: &str, direction: Direction, version: u8) -> Option<(u16, Option<String>)> {
        let announcement = read(line.as_bytes(), direction, version)?;
        let text = announcement
            .address
            .map(|address| line[address.at..][..address.len].to_owned());
        Some((announcement.port, text))
    }

    #[test]
    fn commands_of_the_client() {
        let cases = [
            ("PORT 10,0,0,1,4,1\r\n", 4, Some("10,0,0,1")),
            ("port 10,0,0,1,4,1\n", 4, Some("10,0,0,1")),
            ("EPRT |1|10.0.0.1|1025|\r\n", 4, Some("10.0.0.1")),
            ("EPRT !2!fd00::1!1025!\r\n", 6, Some("fd00::1")),
        ];
        for (line, version, address) in cases {
            let expected = Some((1025, address.map(str::to_owned)));
            assert_eq!(port_of(line, Direction::Original, version), expected);
            assert_eq!(port_of(line, Direction::Reply, version), None);
        }
    }

    #[test]
    fn replies_of_the_server() {
        let cases = [
            (
                "227 Entering Passive Mode (10,0,0,2,4,1).\r\n",
                Some("10,0,0,2"),
            ),
            ("227 =10,0,0,2,4,1\r\n", Some("10,0,0,2")),
            ("229 Entering Extended Passive Mode (|||1025|)\r\n", None),
        ];
        for (line, address) in cases {
            let expected = Some((1025, address.map(str::to_owned)));
            assert_eq!(port_of(line, Direction::Reply, 4), expected, "{line}");
            assert_eq!(port_of(line, Direction::Original, 4), None);
        }
    }

    #[test]
    fn what_is_not_whole_or_not_right_announces_nothing() {
        let commands = [
            "PORT 10,0,0,1,4,1",
            "PORT 10,0,0,1,4\r\n",
            "PORT 10,0,0,1,4,1,1\r\n",
            "PORT 10,0,0,256,4,1\r\n",
            "PORT 10,0,0,1,0,0\r\n",
            "PORTE 10,0,0,1,4,1\r\n",
            "EPRT |1|10.0.0.1|1025\r\n",
            "EPRT |1|fd00::1|1025|\r\n",
            "EPRT |2|fd00::1|1025|\r\n",
            "EPRT |1|10.0.0.1|65536|\r\n",
            "EPRT \r\n",
            "RETR PORT 10,0,0,1,4,1\r\n",
            "\r\nPORT 10,0,0,1,4,1\r\n",
            "",
            "POR\u{e9} \r\n",
        ];
        for line in commands {
            assert_eq!(port_of(line, Direction::Original, 4), None, "{line}");
        }
        let replies = [
            "227-10,0,0,2,4,1\r\n",
            "227 nothing\r\n",
            "229 (||1025|)\r\n",
            "229 (|||1025)\r\n",
            "229 (|||1025|\r\n",
            "229 \u{e9}(\u{e9}\u{e9}\u{e9}1025\u{e9})\r\n",
        ];
        for line in replies {
            assert_eq!(port_of(line, Direction::Reply, 4), None, "{line}");
        }
        let long = format!("227 {} 10,0,0,2,4,1\r\n", "x".repeat(LINE_LEN_MAX));
        assert_eq!(port_of(&long, Direction::Reply, 4), None);
    }
}
