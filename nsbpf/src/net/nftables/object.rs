//! Tables, chains and rules as messages, in both directions.

use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use super::expression::{read_all, write_all};
use super::ruleset::{Chain, Hook, chains};
use super::{MARK_PREFIX, Table};
use crate::net::attribute::{Attributes, find, number, text, until_zero};
use crate::net::nfnetlink::connection::{Connection, Message, kind};
use crate::net::nfnetlink::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, GET_CHAIN, HOOK_NUMBER,
};
use crate::net::socket::NetlinkError;

const NEW_TABLE: u16 = kind(0);
const GET_TABLE: u16 = kind(1);
const DELETE_TABLE: u16 = kind(2);
const NEW_CHAIN: u16 = kind(3);
const NEW_RULE: u16 = kind(6);
const GET_RULE: u16 = kind(7);

const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const TABLE_USERDATA: u16 = 6;
const CHAIN_TYPE: u16 = 7;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
/// The kind of userdata that `nft` shows as a comment.
const USERDATA_COMMENT: u8 = 0;

/// A table without its content.
pub(super) struct Header {
    pub(super) name: String,
    pub(super) mark: Option<String>,
    pub(super) flags: u32,
}

impl Header {
    pub(super) fn is_ours(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.starts_with(MARK_PREFIX))
    }
}

/// Messages that make a table, and their flags.
pub(super) fn creation(table: &Table) -> Vec<(Message, u16)> {
    let Table { name, mark, uplinks } = table;
    // Kind and length, a byte each; names are at most 63 bytes.
    let mut comment = vec![USERDATA_COMMENT, u8::try_from(mark.len() + 1).unwrap_or(u8::MAX)];
    comment.extend(mark.as_bytes());
    comment.push(0);
    let attributes = Attributes::new().text(TABLE_NAME, name).bytes(TABLE_USERDATA, &comment);
    let mut changes = vec![(Message::new(NEW_TABLE, &attributes), NLM_F_CREATE | NLM_F_EXCL)];
    for Chain { name: chain, hook, rules } in chains(uplinks) {
        let mut attributes = Attributes::new().text(CHAIN_TABLE, name).text(CHAIN_NAME, &chain);
        if let Some(Hook { kind, number, priority, policy }) = hook {
            let place = Attributes::new()
                .number(HOOK_NUMBER, number)
                .number(HOOK_PRIORITY, priority.cast_unsigned());
            attributes = attributes
                .nested(CHAIN_HOOK, &place)
                .number(CHAIN_POLICY, policy)
                .text(CHAIN_TYPE, &kind);
        }
        changes.push((Message::new(NEW_CHAIN, &attributes), NLM_F_CREATE | NLM_F_EXCL));
        changes.extend(rules.iter().map(|rule| {
            let attributes = Attributes::new()
                .text(RULE_TABLE, name)
                .text(RULE_CHAIN, &chain)
                .nested(RULE_EXPRESSIONS, &write_all(rule));
            (Message::new(NEW_RULE, &attributes), NLM_F_CREATE | NLM_F_APPEND)
        }));
    }
    changes
}

/// A message that deletes a table with its chains and rules, and its flags.
pub(super) fn deletion(name: &str) -> (Message, u16) {
    (Message::new(DELETE_TABLE, &Attributes::new().text(TABLE_NAME, name)), 0)
}

/// Messages about chains, and whether these changed while they were read.
pub(super) fn dump_chains(
    connection: &mut Connection,
) -> Result<(Vec<Message>, bool), NetlinkError> {
    connection.dump(Message::new(GET_CHAIN, &Attributes::new()))
}

/// Messages about the rules of a table, and whether these changed while they were
/// read.
pub(super) fn dump_rules(
    connection: &mut Connection,
    table: &str,
) -> Result<(Vec<Message>, bool), NetlinkError> {
    connection.dump(Message::new(GET_RULE, &Attributes::new().text(RULE_TABLE, table)))
}

/// Tables of the family inet, and whether these changed while they were read.
pub(super) fn tables(connection: &mut Connection) -> Result<(Vec<Header>, bool), NetlinkError> {
    let (messages, interrupted) = connection.dump(Message::new(GET_TABLE, &Attributes::new()))?;
    let header = |message: &Message| {
        let attributes = message.attributes();
        Some(Header {
            name: text(attributes, TABLE_NAME)?,
            mark: find(attributes, TABLE_USERDATA).and_then(comment),
            flags: number(attributes, TABLE_FLAGS).unwrap_or_default(),
        })
    };
    Ok((messages.iter().filter_map(header).collect(), interrupted))
}

/// The comment in a table's userdata.
fn comment(mut userdata: &[u8]) -> Option<String> {
    loop {
        let ([kind, length], rest) = userdata.split_first_chunk()?;
        let value = rest.get(..usize::from(*length))?;
        if *kind == USERDATA_COMMENT {
            return Some(until_zero(value));
        }
        userdata = &rest[value.len()..];
    }
}

/// The chains of a table, by name, from messages about those of all.
pub(super) fn chains_of(table: &str, chains: &[Message], rules: &[Message]) -> Vec<Chain> {
    let mut found: Vec<Chain> = chains
        .iter()
        .map(Message::attributes)
        .filter(|chain| text(chain, CHAIN_TABLE).as_deref() == Some(table))
        .map(|chain| Chain {
            name: text(chain, CHAIN_NAME).unwrap_or_default(),
            hook: read_hook(chain),
            rules: Vec::new(),
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    for rule in rules.iter().map(Message::attributes) {
        // Old kernels may not look at which table was asked for.
        if text(rule, RULE_TABLE).as_deref() == Some(table)
            && let Some(name) = text(rule, RULE_CHAIN)
            && let Some(chain) = found.iter_mut().find(|chain| chain.name == name)
        {
            let expressions = find(rule, RULE_EXPRESSIONS).unwrap_or_default();
            chain.rules.push(read_all(expressions));
        }
    }
    found
}

fn read_hook(chain: &[u8]) -> Option<Hook> {
    let place = find(chain, CHAIN_HOOK)?;
    Some(Hook {
        kind: text(chain, CHAIN_TYPE)?,
        number: number(place, HOOK_NUMBER)?,
        priority: number(place, HOOK_PRIORITY)?.cast_signed(),
        policy: number(chain, CHAIN_POLICY)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_found_behind_other_userdata() {
        assert_eq!(comment(&[7, 2, 1, 1, 0, 3, b'a', b'b', 0]).as_deref(), Some("ab"));
        assert_eq!(comment(&[7, 2, 1, 1]), None);
        assert_eq!(comment(&[0, 9, b'a']), None);
        assert_eq!(comment(&[]), None);
    }
}
