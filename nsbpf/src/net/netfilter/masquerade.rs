//! Whether the kernel masquerades by nf_tables: tried, since distributions leave
//! parts out.

use rtnetlink::packet_core::{DefaultNla, NLA_F_NESTED, NLM_F_ACK, NLM_F_CREATE};

use super::socket::{Message, Netfilter, nest};
use crate::net::NetlinkError;

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_NEWRULE: u8 = 6;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFPROTO_IPV4: u8 = 2;
const NF_INET_POST_ROUTING: u32 = 4;
/// `NF_IP_PRI_NAT_SRC`.
const PRIORITY: u32 = 100;

const TABLE: &str = "probe";
const CHAIN: &str = "out";

/// Makes a table, a chain and a rule that masquerades in the calling thread's
/// network namespace: call it in one that goes away.
///
/// # Errors
/// The kernel lacks nf_tables, its NAT or masquerading.
pub fn probe_masquerade() -> Result<(), NetlinkError> {
    let hook = nested(
        NFTA_CHAIN_HOOK,
        &[number(NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING), number(NFTA_HOOK_PRIORITY, PRIORITY)],
    );
    let masquerade = nested(NFTA_LIST_ELEM, &[text(NFTA_EXPR_NAME, "masq")]);
    let steps = [
        (NFT_MSG_NEWTABLE, vec![text(NFTA_TABLE_NAME, TABLE)]),
        (
            NFT_MSG_NEWCHAIN,
            vec![
                text(NFTA_CHAIN_TABLE, TABLE),
                text(NFTA_CHAIN_NAME, CHAIN),
                hook,
                text(NFTA_CHAIN_TYPE, "nat"),
            ],
        ),
        (
            NFT_MSG_NEWRULE,
            vec![
                text(NFTA_RULE_TABLE, TABLE),
                text(NFTA_RULE_CHAIN, CHAIN),
                nested(NFTA_RULE_EXPRESSIONS, &[masquerade]),
            ],
        ),
    ];
    let requests = steps.len();
    let steps = steps.map(|(what, attributes)| {
        (Message::nftables(what, NFPROTO_IPV4, &attributes), NLM_F_CREATE | NLM_F_ACK)
    });
    let begin = [(Message::batch(NFNL_MSG_BATCH_BEGIN), 0)];
    let end = [(Message::batch(NFNL_MSG_BATCH_END), 0)];
    let mut netfilter = Netfilter::open()?;
    netfilter.send(&[&begin[..], &steps, &end].concat())?;
    netfilter.acknowledged(requests)
}

fn text(kind: u16, value: &str) -> DefaultNla {
    DefaultNla::new(kind, [value.as_bytes(), b"\0"].concat())
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    DefaultNla::new(kind | NLA_F_NESTED, nest(attributes))
}
