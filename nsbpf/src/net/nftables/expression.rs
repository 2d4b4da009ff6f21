//! The few nf_tables expressions that our rules are made of.
//!
//! A rule is a list of them: most load something into register 1 or look at what
//! is there, and end the rule when it is not what they want.

use crate::net::attribute::{Attributes, find, number, read, text};

/// Of the four registers of 16 bytes the one that is used (`NFT_REG_1`).
const REGISTER: u32 = 1;
/// Where a verdict goes (`NFT_REG_VERDICT`).
const VERDICT_REGISTER: u32 = 0;

const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const META_DREG: u16 = 1;
const META_KEY: u16 = 2;
const PAYLOAD_DREG: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LEN: u16 = 4;
/// `NFT_PAYLOAD_NETWORK_HEADER`
const NETWORK_HEADER: u32 = 1;
const BITWISE_SREG: u16 = 1;
const BITWISE_DREG: u16 = 2;
const BITWISE_LEN: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const CMP_SREG: u16 = 1;
const CMP_OP: u16 = 2;
const CMP_DATA: u16 = 3;
const CT_DREG: u16 = 1;
const CT_KEY: u16 = 2;
/// `NFT_CT_STATE`
const CT_STATE: u32 = 0;
const IMMEDIATE_DREG: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;

/// What of a packet is not in its bytes (`enum nft_meta_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Meta {
    /// Name of the interface that it came in by, padded to 16 bytes.
    InputName = 6,
    /// Name of the interface that it leaves by, padded to 16 bytes.
    OutputName = 7,
    /// Its family, one byte.
    Family = 15,
}

/// How the register is compared (`enum nft_cmp_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Is {
    Equal = 0,
    NotEqual = 1,
}

/// What becomes of a packet (`NF_DROP`, `NF_ACCEPT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Verdict {
    Drop = 0,
    Accept = 1,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Meta(Meta),
    /// Loads bytes of the network header.
    Network {
        offset: u32,
        length: u32,
    },
    /// Keeps the bits that are set in the mask.
    Mask(Vec<u8>),
    Compare(Is, Vec<u8>),
    /// Loads the state of the packet's connection.
    ConnectionState,
    /// Counts packets and bytes.
    Counter,
    Verdict(Verdict),
    Masquerade,
    /// None of ours.
    Other(String),
}

impl Expression {
    fn write(&self) -> Attributes {
        let new = Attributes::new;
        let value = |bytes: &[u8]| new().bytes(DATA_VALUE, bytes);
        let (name, data) = match self {
            Self::Meta(key) => {
                ("meta", new().number(META_DREG, REGISTER).number(META_KEY, *key as u32))
            }
            Self::Network { offset, length } => (
                "payload",
                new()
                    .number(PAYLOAD_DREG, REGISTER)
                    .number(PAYLOAD_BASE, NETWORK_HEADER)
                    .number(PAYLOAD_OFFSET, *offset)
                    .number(PAYLOAD_LEN, *length),
            ),
            Self::Mask(mask) => (
                "bitwise",
                new()
                    .number(BITWISE_SREG, REGISTER)
                    .number(BITWISE_DREG, REGISTER)
                    .number(BITWISE_LEN, u32::try_from(mask.len()).unwrap_or(u32::MAX))
                    .nested(BITWISE_MASK, &value(mask))
                    .nested(BITWISE_XOR, &value(&vec![0; mask.len()])),
            ),
            Self::Compare(is, bytes) => (
                "cmp",
                new()
                    .number(CMP_SREG, REGISTER)
                    .number(CMP_OP, *is as u32)
                    .nested(CMP_DATA, &value(bytes)),
            ),
            Self::ConnectionState => {
                ("ct", new().number(CT_DREG, REGISTER).number(CT_KEY, CT_STATE))
            }
            Self::Counter => ("counter", new()),
            Self::Verdict(verdict) => {
                let code = new().number(VERDICT_CODE, *verdict as u32);
                let data = new().nested(DATA_VERDICT, &code);
                (
                    "immediate",
                    new().number(IMMEDIATE_DREG, VERDICT_REGISTER).nested(IMMEDIATE_DATA, &data),
                )
            }
            Self::Masquerade => ("masq", new()),
            Self::Other(name) => (name.as_str(), new()),
        };
        new().text(EXPR_NAME, name).nested(EXPR_DATA, &data)
    }

    fn read(bytes: &[u8]) -> Self {
        let name = text(bytes, EXPR_NAME).unwrap_or_default();
        let data = find(bytes, EXPR_DATA).unwrap_or_default();
        Self::known(&name, data).unwrap_or(Self::Other(name))
    }

    /// `None` unless it does exactly what one of ours does.
    fn known(name: &str, data: &[u8]) -> Option<Self> {
        let is = |kind, wanted| (number(data, kind) == Some(wanted)).then_some(());
        let value = |kind| find(find(data, kind)?, DATA_VALUE).map(<[u8]>::to_vec);
        match name {
            "meta" => {
                is(META_DREG, REGISTER)?;
                let key = number(data, META_KEY)?;
                [Meta::InputName, Meta::OutputName, Meta::Family]
                    .into_iter()
                    .find(|meta| *meta as u32 == key)
                    .map(Self::Meta)
            }
            "payload" => {
                is(PAYLOAD_DREG, REGISTER)?;
                is(PAYLOAD_BASE, NETWORK_HEADER)?;
                let offset = number(data, PAYLOAD_OFFSET)?;
                Some(Self::Network { offset, length: number(data, PAYLOAD_LEN)? })
            }
            "bitwise" => {
                is(BITWISE_SREG, REGISTER)?;
                is(BITWISE_DREG, REGISTER)?;
                let changes_nothing = value(BITWISE_XOR)?.iter().all(|byte| *byte == 0);
                changes_nothing.then(|| value(BITWISE_MASK))?.map(Self::Mask)
            }
            "cmp" => {
                is(CMP_SREG, REGISTER)?;
                let op = number(data, CMP_OP)?;
                let is = [Is::Equal, Is::NotEqual].into_iter().find(|is| *is as u32 == op)?;
                Some(Self::Compare(is, value(CMP_DATA)?))
            }
            "ct" => {
                is(CT_DREG, REGISTER)?;
                is(CT_KEY, CT_STATE).map(|()| Self::ConnectionState)
            }
            "counter" => Some(Self::Counter),
            "immediate" => {
                is(IMMEDIATE_DREG, VERDICT_REGISTER)?;
                let verdict = find(find(data, IMMEDIATE_DATA)?, DATA_VERDICT)?;
                let code = number(verdict, VERDICT_CODE)?;
                [Verdict::Drop, Verdict::Accept]
                    .into_iter()
                    .find(|verdict| *verdict as u32 == code)
                    .map(Self::Verdict)
            }
            // Ports or flags asked for make it another.
            "masq" => data.is_empty().then_some(Self::Masquerade),
            _ => None,
        }
    }
}

/// The expressions of a rule, as the kernel takes them.
pub(super) fn write_all(expressions: &[Expression]) -> Attributes {
    expressions
        .iter()
        .fold(Attributes::new(), |list, expression| list.nested(LIST_ELEM, &expression.write()))
}

/// The expressions of a rule, as the kernel tells them.
pub(super) fn read_all(list: &[u8]) -> Vec<Expression> {
    read(list).map(|(_, expression)| Expression::read(expression)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            Expression::Meta(Meta::InputName),
            Expression::Meta(Meta::OutputName),
            Expression::Meta(Meta::Family),
            Expression::Network { offset: 12, length: 4 },
            Expression::Mask(vec![255, 255, 0, 0]),
            Expression::Compare(Is::Equal, vec![2]),
            Expression::Compare(Is::NotEqual, vec![b'x'; 16]),
            Expression::ConnectionState,
            Expression::Counter,
            Expression::Verdict(Verdict::Drop),
            Expression::Verdict(Verdict::Accept),
            Expression::Masquerade,
            Expression::Other("limit".to_owned()),
        ];
        assert_eq!(read_all(write_all(&all).as_bytes()), all);
    }

    #[test]
    fn what_does_something_else_is_none_of_ours() {
        let masquerade_to_random_ports = Attributes::new()
            .text(EXPR_NAME, "masq")
            .nested(EXPR_DATA, &Attributes::new().number(1, 4));
        let jump = Attributes::new().number(VERDICT_CODE, (-3_i32).cast_unsigned());
        let jump = Attributes::new().nested(DATA_VERDICT, &jump);
        let jump = Attributes::new()
            .number(IMMEDIATE_DREG, VERDICT_REGISTER)
            .nested(IMMEDIATE_DATA, &jump);
        let jump = Attributes::new().text(EXPR_NAME, "immediate").nested(EXPR_DATA, &jump);
        for (bytes, name) in [(masquerade_to_random_ports, "masq"), (jump, "immediate")] {
            assert_eq!(Expression::read(bytes.as_bytes()), Expression::Other(name.to_owned()));
        }
    }
}
